"""The array type that annotations name with a shape: ``Float[NDArray[np.float64], "samples"]``.

It is what `numpy.typing.NDArray` was before numpy 2.5. Since then that is an alias as of PEP 695,
which jaxtyping (0.3.11) takes for no class: a module with such an annotation cannot be imported.
"""

from typing import Any, TypeAlias, TypeVar

import numpy as np

_Scalar = TypeVar("_Scalar", bound=np.generic)

NDArray: TypeAlias = np.ndarray[tuple[Any, ...], np.dtype[_Scalar]]
