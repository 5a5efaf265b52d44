"""What PyTorch and other libraries raise where a network cannot be made of its options."""

# On sizes that cannot be, such as a negative width or no heads, and on values of the wrong kind.
BUILD_ERRORS = (
    ArithmeticError,
    AssertionError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
