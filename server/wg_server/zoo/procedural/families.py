"""Families of procedural image tasks, and their sites."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wg_common import streams
from wg_common.modalities import cameras
from wg_common.modalities.images import Images
from wg_common.streams import Stream
from wg_server.zoo.procedural import boards, defects, glyphs, parts, surfaces
from wg_server.zoo.procedural.fields import Field

IMAGE_SIDE_PIXELS = 64
MODALITY = Images.name
FAMILY_KINDS = ("defects", "digits", "glyphs", "boards", "materials", "parts")
_KIND_PROBABILITIES = (0.42, 0.16, 0.14, 0.1, 0.08, 0.1)


@dataclass(frozen=True, slots=True)
class ImageClass:
    """Class of an image family.

    Attributes:
        name: Name of the class.
        painter_name: Key of the class's defect in ``defects.PAINTERS``; empty without a defect.
        style: Eight numbers in 0..1 that set the look of the defect or part; empty without either.
        surface_recipe: Recipe of the class's surface in a family of materials; None: the surface of
            the family.
    """

    name: str
    painter_name: str = ""
    style: tuple[float, ...] = ()
    surface_recipe: surfaces.SurfaceRecipe | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFamily:
    """Rendered kind of plant: its classes, and the surface on which they appear.

    Attributes:
        name: Name in zoo entries; it contains the seed.
        kind: One of ``FAMILY_KINDS``.
        classes: Classes of the family.
        surface_recipe: Recipe of its surface.
        style: Eight numbers in 0..1 that set the look of all classes.
        seed: Seed from which the family was drawn.
        alphabet: Shape of each character by its class name; empty except for digits and glyphs.
    """

    name: str
    kind: str
    classes: tuple[ImageClass, ...]
    surface_recipe: surfaces.SurfaceRecipe
    style: tuple[float, ...]
    seed: tuple[int, ...]
    alphabet: Mapping[str, glyphs.Glyph] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the family's classes."""
        return tuple(c.name for c in self.classes)


@dataclass(frozen=True, slots=True)
class ImageSite:
    """Site of an image family: a sheet of material ``[256, 256]``, and a camera."""

    material_sheet: Field
    camera: cameras.Camera


def draw_family(seed: tuple[int, ...], kind: str | None = None) -> ImageFamily:
    """Draw the image family of a seed; ``kind`` is in ``FAMILY_KINDS``, or None: a random one."""
    rng = streams.stream_generator(Stream.FAMILY, *seed)
    family_kind = kind or str(rng.choice(FAMILY_KINDS, p=_KIND_PROBABILITIES))
    recipe = surfaces.draw_recipe(rng, "plain" if family_kind == "boards" else None)
    style = _draw_style(rng)
    alphabet: dict[str, glyphs.Glyph] = {}
    if family_kind in ("digits", "glyphs"):
        is_invented = family_kind == "glyphs"
        alphabet = (
            glyphs.draw_invented_glyphs(rng, int(rng.integers(5, 11)))
            if is_invented
            else glyphs.draw_digit_shapes(rng)
        )
    classes = _draw_classes(rng, family_kind, alphabet)
    return ImageFamily(
        name=f"{family_kind}-{recipe.kind}-{'-'.join(str(s) for s in seed)}",
        kind=family_kind,
        classes=classes,
        surface_recipe=recipe,
        style=style,
        seed=seed,
        alphabet=alphabet,
    )


def draw_site(family: ImageFamily, site_number: int, *, strength: float) -> ImageSite:
    """Draw the site with a number; ``strength``, 0 to 1, is how far its camera is from ideal."""
    rng = streams.stream_generator(Stream.SITE, *family.seed, indices=(site_number,))
    is_mounted = family.kind in ("defects", "boards", "materials")
    camera = cameras.draw_camera(rng, strength=strength, may_turn=is_mounted)
    return ImageSite(surfaces.draw_sheet(rng, family.surface_recipe), camera)


def render_records(
    family: ImageFamily, site: ImageSite, labels: NDArray[np.int64], rng: np.random.Generator
) -> cameras.Pictures:
    """Render pictures as they are taken at one site.

    Args:
        family: The family.
        site: The site.
        labels: Class of each picture, ``[n]``.
        rng: Random generator of the differences between pictures.

    Returns:
        uint8 ``[n, 64, 64]`` or ``[n, 64, 64, 3]``.
    """
    scenes = np.empty((len(labels), IMAGE_SIDE_PIXELS, IMAGE_SIDE_PIXELS), np.float32)
    for index, kind in enumerate(family.classes):
        rows = np.flatnonzero(labels == index)
        if len(rows):
            scenes[rows] = _render_scenes(family, site, kind, len(rows), rng)
    return cameras.photograph(rng, scenes, site.camera)


def _render_scenes(
    family: ImageFamily,
    site: ImageSite,
    image_class: ImageClass,
    count: int,
    rng: np.random.Generator,
) -> Field:
    ground = surfaces.cut_images(rng, site.material_sheet, count, IMAGE_SIDE_PIXELS)
    style = np.array(family.style, np.float32)
    sign = 1.0 if style[6] > 0.5 else -1.0
    if family.kind == "defects":
        return (
            defects.PAINTERS[image_class.painter_name](rng, ground, image_class.style)
            if image_class.painter_name
            else ground
        )
    if family.alphabet:
        glyph_ink = glyphs.render_glyph(
            rng, family.alphabet[image_class.name], count, IMAGE_SIDE_PIXELS, style
        )
        return np.asarray(ground + sign * (0.2 + 0.5 * style[7]) * glyph_ink)
    if family.kind == "boards":
        copper = boards.draw_boards(rng, image_class.name, count, IMAGE_SIDE_PIXELS, style)
        return np.asarray(0.5 * ground + sign * (0.25 + 0.5 * style[7]) * (copper - 0.5) + 0.25)
    if image_class.surface_recipe is not None:
        # A material's sheet is seeded by the site's sheet, and thus depends only on the site.
        place = int(site.material_sheet[0, 0] * 1e6) & 0xFFFF
        material_rng = streams.stream_generator(Stream.MATERIAL, *family.seed, indices=(place,))
        return surfaces.cut_images(
            rng,
            surfaces.draw_sheet(material_rng, image_class.surface_recipe),
            count,
            IMAGE_SIDE_PIXELS,
        )
    mask, height = parts.draw_silhouettes(
        rng, np.array(image_class.style[:5], np.float32), count, IMAGE_SIDE_PIXELS
    )
    solid = mask * (0.1 + 0.3 * style[7]) + 0.4 * image_class.style[5] * height
    return np.asarray(ground + sign * solid)


def _draw_classes(
    rng: np.random.Generator, family_kind: str, alphabet: Mapping[str, glyphs.Glyph]
) -> tuple[ImageClass, ...]:
    if alphabet:
        return tuple(map(ImageClass, alphabet))
    if family_kind == "boards":
        count = int(rng.integers(4, len(boards.BOARD_CLASSES) + 1))
        class_choice = rng.choice(boards.BOARD_CLASSES, count, replace=False)
        return tuple(ImageClass(str(name)) for name in class_choice)
    if family_kind == "materials":
        sorts = map(
            str, rng.choice(surfaces.DRAWN_SURFACE_KINDS, int(rng.integers(2, 8)), replace=False)
        )
        return tuple(
            ImageClass(name, surface_recipe=surfaces.draw_recipe(rng, name)) for name in sorts
        )
    if family_kind == "parts":
        return tuple(
            ImageClass(f"part-{i}", "", _draw_style(rng)) for i in range(int(rng.integers(3, 11)))
        )
    names = [str(n) for n in rng.choice(sorted(defects.PAINTERS), int(rng.integers(2, 8)))]
    classes = [
        ImageClass(
            f"{name}-{names[:i].count(name)}" if name in names[:i] else name, name, _draw_style(rng)
        )
        for i, name in enumerate(names)
    ]
    if rng.random() < 0.5:
        classes.insert(0, ImageClass("good"))
    return tuple(classes)


def _draw_style(rng: np.random.Generator) -> tuple[float, ...]:
    return tuple(float(v) for v in rng.uniform(0, 1, 8))
