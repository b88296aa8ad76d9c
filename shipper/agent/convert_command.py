"""`shipper convert fluentd|rsyslog FILE`: another agent's config as ours on stdout, what was not carried over on stderr.
Driver."""
from __future__ import annotations

import glob
import os
import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from ..errors import Usage

if TYPE_CHECKING:
    from .convert.draft import Draft

MOST_BYTES = 16 * 1024 * 1024


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("kind", metavar="fluentd|rsyslog", choices=["fluentd", "rsyslog"], help="whose config it is")
    parser.add_argument("file", metavar="FILE", help="the config; for fluentd also a ConfigMap (kubectl get cm NAME -o yaml); - "
                                                     "is stdin")


def run(args: Namespace) -> int:
    """Exit code 0, also where something is listed; 2 where FILE is no such config."""
    text = _text(args.file)
    draft = _fluentd(text, args.file) if args.kind == "fluentd" else _rsyslog(text, args.file)
    sys.stdout.write(draft.yaml())
    for file, line, why in draft.problems:
        print(f"{file}:{line}: {why}", file=sys.stderr)
    if draft.problems:
        print(f"shipper: {len(draft.problems)} to look at; the rest is in the config", file=sys.stderr)
    return 0


def _fluentd(text: str, shown: str) -> Draft:
    from .convert.fluentd import convert

    return convert(files_of(text, shown), shown, nothing if shown == "-" or _is_yaml(text) else beside)


def nothing(target: str, file: str) -> list[tuple[str, str]] | None:
    """@include in what was not a file: see fluentd._include."""
    return None


def beside(target: str, file: str) -> list[tuple[str, str]] | None:
    """The files that an @include names, as fluentd finds them: relative to the file that says so, in the order of their names.
    None where there are none, or it is a URL."""
    if "://" in target or not target:
        return None
    paths = sorted(glob.glob(os.path.join(os.path.dirname(file), target)))
    return [(path, _text(path)) for path in paths] or None


def _rsyslog(text: str, shown: str) -> Draft:
    from .convert.rsyslog import convert

    return convert(text, shown, nothing if shown == "-" else beside)


def files_of(text: str, shown: str) -> dict[str, str]:
    """The files of a ConfigMap by name; else the one file. Usage where neither has a directive of fluentd's.

    In the order of their names, as `@include config.d/*.conf` reads them; but one that takes everything (<match **>) last: what
    stood behind it would never be reached.
    """
    if not _is_yaml(text):
        if not _is_fluentd(text):
            raise Usage(f"{shown}: nothing in it reads or sends logs (<source>, <match>), nor includes what does; is this the "
                        "fluentd config?")
        return {shown: text}
    data = _config_map(text, shown)
    ordered = sorted(data.items(), key=lambda pair: ("<match **>" in str(pair[1]), str(pair[0])))
    files = {str(name): str(value) for name, value in ordered if isinstance(value, str) and _is_fluentd(value)}
    if not files:
        raise Usage(f"{shown}: a ConfigMap without a fluentd config under data:; name the right one (kubectl get cm -A)")
    return files


def _is_fluentd(text: str) -> bool:
    return any(line.lstrip().startswith(("<", "@include", "include ")) for line in text.splitlines())


def _is_yaml(text: str) -> bool:
    """Or JSON, as `kubectl get -o json` prints it."""
    if text.lstrip().startswith("{"):
        return True
    lines = (line.split("#")[0].rstrip() for line in text.splitlines())
    return any(line in ("kind: ConfigMap", "kind: List",
                        "kind: ConfigMapList") or line.startswith("apiVersion:") for line in lines)


def _config_map(text: str, shown: str) -> dict[str, Any]:
    import yaml

    try:
        documents = list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError as error:
        raise Usage(f"{shown}: is no YAML ({str(error).splitlines()[0]}); save it with kubectl get cm NAME -o yaml") from error
    data: dict[str, Any] = {}
    owners: dict[str, str] = {}
    for document in documents:
        for each in (document or {}).get("items", [document]) if isinstance(document, dict) else []:
            if not isinstance(each, dict) or each.get("kind") != "ConfigMap":
                continue
            name = str((each.get("metadata") or {}).get("name", "the other"))
            for key, value in (each.get("data") or {}).items():
                if key in data and _is_fluentd(str(value)):
                    raise Usage(f"{shown}: ConfigMaps {owners[key]} and {name} both have {key}; save the one that the DaemonSet "
                                "mounts: kubectl get cm NAME -o yaml")
                data[key], owners[key] = value, name
    return data


def _text(path: str) -> str:
    try:
        if path == "-":
            return sys.stdin.read(MOST_BYTES)
        with open(path, "rb") as file:
            return file.read(MOST_BYTES).decode("utf-8", "replace")
    except OSError as error:
        mend = "run this as who may read it (sudo)" if isinstance(error, PermissionError) else "name the config to convert"
        raise Usage(f"{path}: cannot be read: {error.strerror}; {mend}") from error
