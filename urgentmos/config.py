"""Dataclasses to strict YAML or JSON and back, with dotted overrides."""

import dataclasses
import difflib
import json
import math
import re
import reprlib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import yaml

ConfigT = TypeVar("ConfigT")

# PyYAML follows YAML 1.1, where 3e-5 is a string because it has no decimal point.
_SCIENTIFIC = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


# What PyYAML raises on a value that is not what its tag says, beside its own errors.
_YAML_ERRORS = (
    yaml.YAMLError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)

# YAML can name one list a billion times in a few lines: messages show the outside of a value.
_shown = reprlib.Repr()
_shown.maxlevel = 2
_shown.maxstring = _shown.maxother = 100


class ConfigError(ValueError):
    """A configuration that does not say what it should; the message names the key."""


def from_dict(cls: type[ConfigT], data: object, *, where: str) -> ConfigT:
    """Build a dataclass from plain data, refusing whatever does not fit.

    Args:
        cls: Dataclass to build; its fields may be dataclasses, ``dict[str, X]``, ``list[X]``,
            ``tuple[X, ...]``, ``X | None``, ``Literal``, ``Path`` and plain values.
        data: Keys and values as read from YAML or JSON.
        where: Place of this data, which opens every error message: ``model.fusion``.

    Raises:
        ConfigError: A key is unknown or missing, or a value has the wrong type.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where}: expected keys and values, got {_shown.repr(data)}")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            raise ConfigError(f"{where}: unknown key {_shown.repr(key)}{_hint(str(key), fields)}")
    for name, field in fields.items():
        if name not in data and not _has_default(field):
            raise ConfigError(f"{where}: key {name!r} is missing")
    hints = typing.get_type_hints(cls)
    values = {
        str(key): _convert(value, hints[key], where=_join(where, key))
        for key, value in data.items()
    }
    try:
        return cls(**values)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


def to_dict(config: object) -> dict[str, Any]:
    """Turn a dataclass into plain data that YAML and JSON can hold; ``from_dict`` reads it."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise TypeError(f"expected a dataclass instance, got {config!r}")
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def load_config(
    cls: type[ConfigT], path: str | Path | None, overrides: Sequence[str] = ()
) -> ConfigT:
    """Read a YAML or JSON file into a dataclass.

    Args:
        cls: Dataclass to build.
        path: ``.yaml``, ``.yml`` or ``.json``; None starts from the defaults.
        overrides: ``a.b.c=value`` each; the value is read as YAML and numbers count list items. The
            rest of ``a.b`` is what the file states, or the default where it states none.

    Raises:
        ConfigError: The file or an override does not describe a ``cls``.
        FileNotFoundError: There is no such file.
    """
    data: Any = {}
    if path is not None:
        try:
            data = _read_yaml(Path(path).read_bytes())
        except _YAML_ERRORS as error:
            raise ConfigError(f"{path}: not valid YAML: {error}") from error
    for override in overrides:
        data = _override(cls, data, override)
    return from_dict(cls, data, where="defaults" if path is None else Path(path).name)


def unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Make a mapping of JSON's keys and values (``object_pairs_hook``).

    Raises:
        ValueError: A key is there twice, of which JSON's reader would take the last.
    """
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise ValueError(f"key {_shown.repr(key)} is there twice")
        made[key] = value
    return made


def check_at_least(config: object, **least: int) -> None:
    """Check numbers of a dataclass: ``check_at_least(config, dim=1, blocks=0)``.

    Raises:
        ValueError: One is below what it is at least; the message names it.
    """
    for name, bound in least.items():
        if getattr(config, name) < bound:
            raise ValueError(f"{name}: expected at least {bound}, got {getattr(config, name)}")


def check_odd(config: object, name: str) -> None:
    """Check a number of a dataclass, such as frames of a kernel, which keeps as many as it hears.

    Raises:
        ValueError: It is even; the message names it.
    """
    if getattr(config, name) % 2 == 0:
        raise ValueError(f"{name}: expected an odd number, got {getattr(config, name)}")


def save_config(config: object, path: str | Path) -> None:
    """Write a dataclass as YAML, or as JSON where the name ends in ``.json``."""
    path = Path(path)
    data = to_dict(config)
    if path.suffix == ".json":
        text = json.dumps(data, indent=2) + "\n"
    else:
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    path.write_text(text, encoding="utf-8")


def differences(before: object, after: object) -> list[str]:
    """Name the keys in which two configurations differ: ``a.b.c: 1 → 2``."""
    return list(_differences(to_dict(before), to_dict(after), where=""))


def _read_yaml(content: bytes | str) -> Any:
    loader = yaml.SafeLoader(content)
    try:
        document = loader.get_single_node()
        _check_keys(document, seen=set())
        return None if document is None else loader.construct_document(document)
    finally:
        loader.dispose()


def _check_keys(node: Any, *, seen: set[int]) -> None:
    """Refuse a key that is there twice, of which PyYAML would take the last."""
    if id(node) in seen:  # named by an alias
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if key.value in lines:
                    raise ConfigError(
                        f"key {_shown.repr(key.value)} is in line {lines[key.value]} and again in "
                        f"line {line}"
                    )
                lines[key.value] = line
            _check_keys(value, seen=seen)
    elif isinstance(node, yaml.SequenceNode):
        for each in node.value:
            _check_keys(each, seen=seen)


def _differences(before: Any, after: Any, *, where: str) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys([*before, *after]):
            yield from _differences(before.get(key), after.get(key), where=_join(where, key))
    elif before != after:
        yield f"{where}: {_shown.repr(before)} → {_shown.repr(after)}"


def _convert(value: Any, hint: Any, *, where: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(value, args, where=where)
    if origin is Literal:
        if value not in args:
            raise ConfigError(
                f"{where}: expected one of {', '.join(map(repr, args))}, got {_shown.repr(value)}"
            )
        return value
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value, where=where)  # type: ignore[arg-type]
    if _is_list_hint(hint):
        return _convert_items(value, args[0] if args else Any, where=where)
    if origin is tuple:
        return _convert_tuple(value, args, where=where)
    if origin is dict or hint is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected keys and values, got {_shown.repr(value)}")
        item = args[1] if args else Any
        return {
            str(key): _convert(each, item, where=_join(where, key)) for key, each in value.items()
        }
    return _convert_plain(value, hint, where=where)


def _convert_union(value: Any, choices: tuple[Any, ...], *, where: str) -> Any:
    if value is None and type(None) in choices:
        return None
    errors = []
    # Of a list, what is said is what is wrong with its items, not that it is none of the others.
    is_list = isinstance(value, list | tuple)
    for choice in sorted(choices, key=lambda each: _is_list_hint(each) != is_list):
        if choice is type(None):
            continue
        try:
            return _convert(value, choice, where=where)
        except ConfigError as error:
            errors.append(error)
    raise errors[0]


def _is_list_hint(hint: Any) -> bool:
    origin: Any = get_origin(hint)
    return origin is list or hint is list


def _convert_items(value: Any, item: Any, *, where: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{where}: expected a list, got {_shown.repr(value)}")
    return [_convert(each, item, where=_join(where, index)) for index, each in enumerate(value)]


def _convert_tuple(value: Any, args: tuple[Any, ...], *, where: str) -> tuple[Any, ...]:
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_convert_items(value, args[0], where=where))
    if not isinstance(value, list | tuple) or len(value) != len(args):
        raise ConfigError(
            f"{where}: expected a list of {len(args)} items, got {_shown.repr(value)}"
        )
    return tuple(
        _convert(each, item, where=_join(where, index))
        for index, (each, item) in enumerate(zip(value, args, strict=True))
    )


def _convert_plain(value: Any, hint: type, *, where: str) -> Any:
    if hint is Path and isinstance(value, str | Path):
        return Path(value)
    if hint is float and not isinstance(value, bool):
        if isinstance(value, int | float):
            value = _float(value, where)
        if isinstance(value, str) and _SCIENTIFIC.fullmatch(value):
            return float(value)
    # bool is a subclass of int, but `layers: true` is a mistake; NaN passes most checks of a range.
    is_other = isinstance(value, bool) and hint is not bool
    if not isinstance(value, hint) or is_other or (isinstance(value, float) and math.isnan(value)):
        raise ConfigError(
            f"{where}: expected {hint.__name__}, got {_shown.repr(value)} ({type(value).__name__})"
        )
    return value


def _float(value: int | float, where: str) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise ConfigError(f"{where}: expected float, got an integer that is too large") from error


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Path):
        return str(value)
    return value


def _override(cls: type, data: Any, override: str) -> Any:
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise ConfigError(f"override {override!r}: expected a.b.c=value")
    try:
        value = _read_yaml(text)
    except ConfigError as error:
        raise ConfigError(f"override {override!r}: {error}") from error
    except _YAML_ERRORS as error:
        raise ConfigError(f"override {override!r}: the value is not valid YAML") from error
    return _replaced(data, dotted.split("."), value, hint=cls, override=override)


def _replaced(data: Any, keys: list[str], value: Any, *, hint: Any, override: str) -> Any:
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    if isinstance(data, list):
        if not key.isdigit() or int(key) >= len(data):
            raise ConfigError(
                f"override {override!r}: expected an index below {len(data)}, got {key!r}"
            )
        items = list(data)
        items[int(key)] = _replaced(items[int(key)], rest, value, hint=None, override=override)
        return items
    if data is not None and not isinstance(data, Mapping):
        inside = _shown.repr(data)
        raise ConfigError(f"override {override!r}: {key!r} is inside {inside}, which has no keys")
    mapping = dict(data or {})
    default, inner = _field(hint, key)
    inside = mapping.get(key, default)
    mapping[key] = _replaced(inside, rest, value, hint=inner, override=override)
    return mapping


def _field(hint: Any, key: str) -> tuple[Any, Any]:
    """Return the default of a dataclass's field as plain data, and its type; None without one."""
    for field in dataclasses.fields(hint) if dataclasses.is_dataclass(hint) else ():
        if field.name == key:
            made = field.default
            if field.default_factory is not dataclasses.MISSING:
                made = field.default_factory()
            default = None if made is dataclasses.MISSING else _plain(made)
            return default, typing.get_type_hints(hint)[key]
    return None, None


def _has_default(field: "dataclasses.Field[Any]") -> bool:
    return (
        field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    )


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _hint(key: str, known: Mapping[str, object]) -> str:
    nearest = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else f"; known: {', '.join(known)}"
