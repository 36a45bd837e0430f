"""Which folders of `folder:PATH` are the parts and which the classes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from attrs import frozen

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError, nearest, quote
from bayesnas.runtime.data.folders.images import ENDINGS

_SHOWN: Final = 5  # of many folders
ROLES: Final = {  # what parts are called
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "val": ("val", "valid", "validation"),
}


@frozen
class Layout:
    """The folders of a data set.

    Args:
        train: holds the class folders of the training part.
        test: those of the test part; None where there is none.
        classes: names of the class folders, in order.
        unused: parts that are left aside.
        note: what stands in for what.
    """

    train: Path
    test: Path | None
    classes: tuple[str, ...]
    unused: tuple[Path, ...] = ()
    note: str = ""

    @classmethod
    def of(cls, root: Path) -> Layout:
        """What ``root`` holds: `train/CLASS/` with or without other parts, or `CLASS/` at once.

        Raises:
            DiagnosticError: D502 (no such folders), D506 (a class is in another part alone), D514
                (a single class).
        """
        names = folders(root) if root.is_dir() else []
        parts = _parts(root, names)
        tested = [path for role in ("test", "val") for path in parts[role]]
        if not parts["train"]:
            taken = {path.name for path in tested}
            return _whole(root, [name for name in names if name not in taken], tested)
        train, test = parts["train"][0], tested[0] if tested else None
        classes = folders(train)
        if test is not None and (extra := sorted({*folders(test)} - {*classes})):
            message = f"`{test}` has classes that `{train.name}` has not: {quote(extra[:_SHOWN])}"
            remedy = "give both the same class folders"
            raise DiagnosticError(Diagnostic("D506", message, help=remedy))
        if len(classes) == 1:
            raise _single(train, classes[0], "add a folder of images of another class")
        unused = [root / name for name in names if root / name not in (train, test)]
        return cls(train, test, tuple(classes), tuple(unused), _stand_in(test))

    @classmethod
    def to_judge(cls, root: Path, known: tuple[str, ...]) -> Layout:
        """The one part of ``root`` on which a network is judged: ``train``, whatever its name.

        It is `test/CLASS/`, a part that stands in for it, or `CLASS/` itself, of some of the
        ``known`` classes.

        Raises:
            DiagnosticError: D502 (no such folders), D506 (other classes).
        """
        names = folders(root) if root.is_dir() else []
        parts = _parts(root, names)
        given = [path for role in ("test", "val", "train") for path in parts[role]]
        part = given[0] if given and not {*names} <= {*known} else root
        classes = names if part == root else folders(part)
        if not classes:
            raise _none_to_judge(root)
        if unknown := [name for name in classes if name not in known]:
            several = "classes" if len(unknown) > 1 else "a class"
            message = f"`{part}` has {several} that the run was not trained on"
            notes = (f"it has {quote(unknown)}", f"trained on {quote(known)}")
            remedy = "call the folders as in the training, and move others away"
            raise DiagnosticError(Diagnostic("D506", message, notes=notes, help=remedy))
        unused = [root / name for name in names if part not in (root, root / name)]
        note = f"`{part.name}` is judged" if unused else ""
        return cls(part, None, known, tuple(unused), note)


def _none_to_train(root: Path) -> DiagnosticError:
    if not root.is_dir():
        remedy = "name the folder that holds `train/CLASS/*.png`, or the class folders"
        return no_folder(root, remedy)
    remedy = "lay out `PATH/train/CLASS/*.png` and `PATH/test/CLASS/*.png`, or class folders alone"
    if _images_beside(root):
        remedy = f"put images into a folder for each class: `{root / 'CLASS'}/*.png`"
    empty = all(path.name.startswith(".") for path in root.iterdir())
    message = f"`{root}` is empty" if empty else f"no folder `{root / 'train'}`"
    return DiagnosticError(Diagnostic("D502", message, help=remedy))


def _images_beside(root: Path) -> bool:
    return any(path.suffix.lower() in ENDINGS for path in root.iterdir())


def _none_to_judge(root: Path) -> DiagnosticError:
    remedy = "lay out `PATH/test/CLASS/*.png` or `PATH/CLASS/*.png`"
    if not root.is_dir():
        return no_folder(root, remedy)
    if _images_beside(root):
        remedy = f"put images into a folder for each class, or see `bayesnas predict RUN {root}`"
    return DiagnosticError(Diagnostic("D502", f"no class folders in `{root}`", help=remedy))


def no_folder(root: Path, otherwise: str) -> DiagnosticError:
    """D502 with the name of a folder beside it that is spelt alike, or another remedy."""
    beside = folders(root.parent) if root.parent.is_dir() else []
    match = nearest(root.name, beside)
    remedy = f"did you mean `{root.parent / match}`?" if match else otherwise
    return DiagnosticError(Diagnostic("D502", f"no folder `{root}`", help=remedy))


def _whole(root: Path, classes: list[str], tested: list[Path]) -> Layout:
    """Class folders in the root itself, beside parts that test."""
    test = tested[0] if tested else None
    if not classes or (test is not None and not {*folders(test)} <= {*classes}):
        raise _none_to_train(root)
    if len(classes) == 1:
        remedy = "add a folder of images of another class"
        if len(folders(root / classes[0])) > 1:
            remedy = f"name the folder that holds the class folders: `folder:{root / classes[0]}`"
        raise _single(root, classes[0], remedy)
    return Layout(root, test, tuple(classes), tuple(tested[1:]), _stand_in(test))


def _stand_in(test: Path | None) -> str:
    """A remark where another part is the test part."""
    if test is None or test.name.lower() in ROLES["test"]:
        return ""
    return f"there is no `test`: `{test.name}` is the test part"


def _single(train: Path, name: str, remedy: str) -> DiagnosticError:
    message = f"`{train}` has a single class, `{name}`"
    return DiagnosticError(Diagnostic("D514", message, help=remedy))


def folders(part: Path) -> list[str]:
    """Names of the folders that may be classes; what programs leave beside them is none."""
    names = sorted(path.name for path in part.iterdir() if path.is_dir())
    return [name for name in names if not litter(name)]


def litter(name: str) -> bool:
    """Whether a file or folder is one that programs leave behind."""
    return name.startswith(".") or name in ("__MACOSX", "__pycache__", "@eaDir")


def _parts(root: Path, names: list[str]) -> dict[str, list[Path]]:
    """The folders of these names that are parts, by role; in each the usual name first.

    A folder `train` of images beside `car` and `plane` is a class.
    """
    called = {
        role: sorted((n for n in names if n.lower() in words), key=lambda n: words.index(n.lower()))
        for role, words in ROLES.items()
    }
    others = len(names) - sum(map(len, called.values()))
    return {
        role: [root / name for name in fitting if not others or folders(root / name)]
        for role, fitting in called.items()
    }
