"""What a folder of images holds, before anything long runs on it."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from ganaug.errors import DataError, counted
from ganaug.folders import (
    SIXTEEN_BIT,
    TRANSPARENT,
    checked_folder,
    find_classes,
    image_files,
    is_foreign,
    is_image_name,
    open_image,
    orientation,
)


@dataclass
class FolderReport:
    """What :func:`check_folder` found.

    Attributes:
        images: how many can be read.
        classes: images of each class; empty where there are no class subfolders.
        sizes: images of each ``(width, height)``, as seen.
        modes: images of each mode of the files.
        damaged: files that can't be read, and why.
        unusual: files that are read, but not as they are stored, and what is done to each.
        left_out: hidden and foreign folders and files, and files that are no images.
        problems: what keeps the folder as a whole from being used.
    """

    folder: str
    images: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    unusual: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing is damaged and nothing keeps the folder from being used."""
        return not self.damaged and not self.problems and self.images > 0

    def table(self) -> str:
        """For people to read."""
        sizes = Counter(self.sizes).most_common()
        shown = ", ".join(f"{width} x {height} ({count})" for (width, height), count in sizes[:6])
        lines = [f"{self.folder}: {counted(self.images, 'image')}"]
        lines += [f"  class {name}: {count}" for name, count in self.classes.items()]
        lines += [f"  sizes: {shown}" + (f" and {len(sizes) - 6} others" if len(sizes) > 6 else "")] if sizes else []
        lines += [f"  modes: {', '.join(f'{mode} ({count})' for mode, count in self.modes.items())}"]
        for title, found in (("unusual", self.unusual), ("damaged", self.damaged)):
            lines += [f"  {title}: {path}: {what}" for path, what in found.items()]
        lines += [f"  left out: {path}" for path in self.left_out]
        return "\n".join([*lines, *(f"  problem: {what}" for what in self.problems)])

    def to_json(self) -> str:
        """All of it, as one JSON object."""
        sizes = {f"{width}x{height}": count for (width, height), count in self.sizes.items()}
        return json.dumps({**self.__dict__, "sizes": sizes, "is_sound": self.is_sound}, indent=2)


def check_folder(folder: str | Path) -> FolderReport:
    """Open every image of a folder and say what there is: classes, sizes, modes, damaged and unusual files.

    Raises:
        DataError: there is no such folder.
    """
    root = checked_folder(folder)
    report = FolderReport(str(folder))
    for file in image_files(root):
        _check_file(file, file.relative_to(root).as_posix(), report)
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if any(is_foreign(part) for part in relative.parts[:-1]):
            continue
        if is_foreign(path.name) or (path.is_file() and not is_image_name(path.name)):
            report.left_out.append(relative.as_posix())
    if not report.images:
        report.problems.append("no image can be read")
    try:
        classes = find_classes(root)
    except DataError as error:
        if any(entry.is_dir() and not is_foreign(entry.name) for entry in root.iterdir()):
            report.problems.append(str(error))
        return report
    for file in image_files(root):
        if file.parent == root and file.name not in report.damaged:
            earlier = report.unusual.get(file.name)
            report.unusual[file.name] = "; ".join(
                [*([earlier] if earlier else []), "beside the classes, in none of them"]
            )
    for name in classes:
        files = [file.relative_to(root).as_posix() for file in image_files(root / name)]
        report.classes[name] = sum(file not in report.damaged for file in files)
        if not report.classes[name]:
            report.problems.append(f"class {name} has no image that can be read")
    return report


def _check_file(file: Path, name: str, report: FolderReport) -> None:
    try:
        image = open_image(file)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            with Image.open(file) as picture:
                mode, frames, turned = picture.mode, getattr(picture, "n_frames", 1), orientation(picture)
                clear = mode in TRANSPARENT or "transparency" in picture.info
    except (DataError, OSError, EOFError, SyntaxError, ValueError) as error:  # the later frames may be damaged
        report.damaged[name] = str(error).removeprefix(f"{file}").lstrip(": ")
        return
    report.images += 1
    report.sizes[image.size] = report.sizes.get(image.size, 0) + 1
    report.modes[mode] = report.modes.get(mode, 0) + 1
    complaints = {str(each.message).strip() for each in told if each.category is UserWarning}
    notes = [
        *(f"read all the same, but: {complaint}" for complaint in sorted(complaints)),
        "its EXIF orientation can't be read, so it is taken as it is stored" * (turned is None),
        "turned as its EXIF orientation says" * ((turned or 1) > 1),
        "16 bits, scaled to 8" * (mode in SIXTEEN_BIT),
        "transparent, put on white" * clear,
        f"mode {mode}, converted" * (mode not in ("L", "RGB", "P", *TRANSPARENT, *SIXTEEN_BIT)),
        f"the first of {frames} frames" * (frames > 1),
    ]
    if any(notes):
        report.unusual[name] = "; ".join(note for note in notes if note)
