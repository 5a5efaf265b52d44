"""What a row must carry so that its score can be traced."""

from urgentmos import __version__
from urgentmos.model.assessor import Assessor


def model_id(assessor: Assessor) -> str:
    """Content hash of the model and version of this package, ``hash+version``.

    A precision other than the usual one follows: ``hash+version+bfloat16``.
    """
    precision = "" if assessor.precision == "float32" else f"+{assessor.precision}"
    return f"{assessor.model_hash}+{__version__}{precision}"
