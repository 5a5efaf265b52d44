"""Start a run from the weights of a saved model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError

from urgentmos.config import ConfigError
from urgentmos.model.checkpoint import WEIGHTS_FILE, find_model
from urgentmos.model.network import AssessorNetwork
from urgentmos.model.strict_weights import misfit
from urgentmos.tensor_file import read_tensors


@dataclass
class StartedFrom:
    """What became of a saved model's weights.

    Attributes:
        taken: Names of the weights that were taken.
        random: Names of the model's weights that the saved model lacks or has in another shape,
            without those of encoders that bring their own.
        unused: Names of the saved model's weights that were not taken.
    """

    taken: list[str]
    random: list[str]
    unused: list[str]

    def __str__(self) -> str:
        """Count them, and name the random ones."""
        counts = f"started from {len(self.taken)} saved weights, {len(self.unused)} not used"
        return f"{counts}; random: {', '.join(self.random) or 'none'}"


def start_from(
    network: AssessorNetwork, model: str | Path, *, bringing: Sequence[int] = ()
) -> StartedFrom:
    """Take the weights of like name and shape.

    Args:
        network: Changed in place.
        model: Folder of a saved model, or a shipped model's name.
        bringing: Numbers of the encoders that have been built with weights of their own.

    Raises:
        CheckpointError: There is no such model.
        ConfigError: Its weights cannot be read, none of them fits, or one that does is quantised or
            not finite.
    """
    path = find_model(model) / WEIGHTS_FILE
    try:
        saved = read_tensors(path)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"start_from: {path} cannot be read: {error}") from error
    # What a frozen encoder leaves out of a saved model is not among these.
    own = network.state_dict()
    taken = [name for name in own if name in saved and saved[name].shape == own[name].shape]
    if not taken:
        raise ConfigError(
            f"start_from: no weight of {path} has the name and shape of one of this model's; "
            "it is another architecture"
        )
    for name in taken:
        wrong = misfit(saved[name], own[name])
        if wrong:
            raise ConfigError(f"start_from: {path}: {name} {wrong}")
    for name in taken:
        own[name].copy_(saved[name])
    brought = tuple(f"encoders.{number}." for number in bringing)
    return StartedFrom(
        taken=taken,
        random=[name for name in own if name not in taken and not name.startswith(brought)],
        unused=[name for name in saved if name not in taken],
    )
