"""What a row must carry so that its score can be traced."""

from urgentmos import __version__
from urgentmos.model.assessor import Assessor


def model_id(assessor: Assessor) -> str:
    """Content hash of the model and version of this package, ``hash+version``."""
    return f"{assessor.model_hash}+{__version__}"
