"""Batches of simulated crops for any panel, on any device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ctcnet.errors import SettingError
from ctcnet.panel import Panel
from ctcnet.simulate import axis_blur, camera, camera_effects, floaters, optics, shapes
from ctcnet.simulate.composition import CLASSES, SHARP_DEFOCUS_UM, Scene, compose
from ctcnet.simulate.dense_specks import draw_specks, speck_patch_px
from ctcnet.simulate.dots import LARGEST_SIGMA_UM
from ctcnet.simulate.draws import Draws
from ctcnet.simulate.effect_groups import change_groups
from ctcnet.simulate.effect_levels import EffectLevels, draw_effect_levels
from ctcnet.simulate.effects import Effects
from ctcnet.simulate.frame_edge import cut_at_edge
from ctcnet.simulate.groups import Groups, draw_groups
from ctcnet.simulate.jpeg import BLOCK, compress_counts
from ctcnet.simulate.scene_variation import SceneVariation
from ctcnet.simulate.stamping import PATCH_LADDER_UM, Canvas

DEFAULT_PIXEL_SIZE_UM = 0.5
"""For panels whose platform fixes no pixel size, unless the caller states one."""
DEFAULT_EMISSION_NM = 550.0
NUMERICAL_APERTURE = 0.45
TEXTURES = 256
MARGIN_UM = 4.0
CHUNK = 256
EFFECT_STREAM = 0x5EED_EFFEC7
"""Added to the seed of what effects draw, so that they take nothing from the other draws."""

DIFFICULTIES: Mapping[str, float] = {"easy": 0.5, "standard": 1.0, "hard": 1.4}
"""Named difficulties of `draw_groups`."""


@dataclass(frozen=True)
class SimulatedCrops:
    """What `CropSimulator.sample` returns.

    Attributes:
        counts: (N, C, S, S) uint16 raw counts, 0 to the panel's full scale.
        labels: (N,) int64, rows of `composition.CLASSES`.
        groups: (N,) int64.
        tumour_cells, partners: (N,) int64, the event's composition.
        defocus_um: (N,) float32.
    """

    counts: Tensor
    labels: Tensor
    groups: Tensor
    tumour_cells: Tensor
    partners: Tensor
    defocus_um: Tensor


class CropSimulator:
    """Simulates crops of patients that are drawn once.

    Args:
        panel: channels in the order of the crops.
        crop_size_px: side of the crops, 16 to 512.
        pixel_size_um: the panel's own where None; `DEFAULT_PIXEL_SIZE_UM` where the panel has none either.
        seed: same seed, device and calls, same crops.
        num_groups: patients.
        scanners: batches among which the patients are divided.
        difficulty: see `draw_groups`.
        numerical_aperture: of the objective.
        device: where to compute.
        effects: what makes real images hard; without any the crops are those of the first edition.

    Raises:
        SettingError: an argument is outside its range.
    """

    def __init__(
        self,
        panel: Panel,
        *,
        crop_size_px: int = 64,
        pixel_size_um: float | None = None,
        seed: int = 0,
        num_groups: int = 40,
        scanners: int = 3,
        difficulty: float = 1.0,
        numerical_aperture: float = NUMERICAL_APERTURE,
        device: str | torch.device = "cpu",
        effects: Effects = Effects.none(),  # noqa: B008 (frozen)
    ) -> None:
        self.panel = panel
        self.crop_size_px = crop_size_px
        self.pixel_size_um = resolve_pixel_size_um(panel, pixel_size_um)
        self.numerical_aperture = numerical_aperture
        self.device = torch.device(device)
        self.effects = effects
        self._check(num_groups, scanners, difficulty)
        self.draws = Draws.from_seed(seed, self.device)
        self.groups = draw_groups(panel, num_groups, scanners, self.draws, difficulty)
        self._effect_draws = Draws.from_seed((seed + EFFECT_STREAM) % 2**63, self.device)
        self.groups = change_groups(self.groups, panel, effects, self._effect_draws)
        self.levels = draw_effect_levels(panel, self.groups, effects, self._effect_draws)
        self._margin_px = max(2, round(MARGIN_UM / self.pixel_size_um))
        side_px = crop_size_px + 2 * self._margin_px
        texture_px = min(round(PATCH_LADDER_UM[-1] / self.pixel_size_um) + 2, 2 * side_px)
        self._textures = shapes.texture_bank(self.draws, TEXTURES, texture_px, self.pixel_size_um)
        emission = [c.emission_nm or DEFAULT_EMISSION_NM for c in panel.channels]
        self._emission_nm = torch.tensor(emission, device=self.device)
        unstained = ("transmitted", "scatter", "none")
        self._stained = torch.tensor([role not in unstained for role in panel.roles], device=self.device)

    def _check(self, num_groups: int, scanners: int, difficulty: float) -> None:
        for name, value, low, high in (
            ("crop_size_px", self.crop_size_px, 16, 512),
            ("pixel_size_um", self.pixel_size_um, 0.1, 2.0),
            ("num_groups", num_groups, 1, 100_000),
            ("scanners", scanners, 1, num_groups),
            ("difficulty", difficulty, 0.0, 3.0),
            ("numerical_aperture", self.numerical_aperture, 0.1, 1.3),
        ):
            if not low <= value <= high:
                raise SettingError("is outside its range", where=name, expected=f"{low} to {high}", found=str(value))

    def sample(self, labels: Tensor, groups: Tensor) -> SimulatedCrops:
        """Simulate one crop for each label.

        Args:
            labels: (N,) int64, rows of `composition.CLASSES`.
            groups: (N,) int64, patients, 0 to num_groups - 1.

        Raises:
            SettingError: labels and groups do not match, or lie outside their ranges.
        """
        self._check_rows(labels, groups)
        pieces = [
            self._sample_chunk(
                labels[start : start + CHUNK].to(self.device), groups[start : start + CHUNK].to(self.device)
            )
            for start in range(0, len(labels), CHUNK)
        ]
        names = ("counts", "labels", "groups", "tumour_cells", "partners", "defocus_um")
        return SimulatedCrops(**{name: torch.cat([getattr(piece, name) for piece in pieces]) for name in names})

    def _check_rows(self, labels: Tensor, groups: Tensor) -> None:
        if not 0 < len(labels) == len(groups):
            raise SettingError(
                "labels and groups must be as many, at least one", found=f"{len(labels)} and {len(groups)}"
            )
        for name, values, limit in (("labels", labels, len(CLASSES)), ("groups", groups, len(self.groups.tumour))):
            if int(values.min()) < 0 or int(values.max()) >= limit:
                raise SettingError("holds numbers outside the range", where=name, expected=f"0 to {limit - 1}")

    @property
    def _field_um(self) -> float:
        return (self.crop_size_px + 2 * self._margin_px) * self.pixel_size_um

    def _sample_chunk(self, labels: Tensor, group_index: Tensor) -> SimulatedCrops:
        groups, levels = self.groups.rows(group_index), self.levels.rows(group_index)
        scene = self._scene(labels, groups, levels)
        counts = camera.expose(
            self._illuminated(self.expected_electrons(scene, groups, levels), levels),
            groups.read_noise_e,
            groups.electrons_per_count,
            groups.offset_counts,
            self.panel.full_scale,
            self.draws,
        )
        if self.effects.jpeg:
            top, left = self._effect_draws.integers((2,), 0, BLOCK - 1).tolist()
            counts = compress_counts(counts, levels.jpeg_quality, levels.jpeg_white_counts, (top, left))
        if self.effects.frame_edge:
            fill = groups.offset_counts + groups.background_e / groups.electrons_per_count
            share, full_scale = levels.edge_share, self.panel.full_scale
            counts = cut_at_edge(counts, share, fill, full_scale, self.pixel_size_um, self._effect_draws)
        return SimulatedCrops(counts, labels, group_index, scene.tumour_cells, scene.partners, scene.defocus_um)

    def _scene(self, labels: Tensor, groups: Groups, levels: EffectLevels) -> Scene:
        roles, field_um, draws = self.panel.roles, self._field_um, self._effect_draws
        variation = SceneVariation(self.effects, levels, draws)
        depth_scale = optics.blur_slope(NUMERICAL_APERTURE) / optics.blur_slope(self.numerical_aperture)
        make, surround = variation.make_bodies, variation.surround
        scene = compose(labels, groups, roles, field_um, self.draws, make, surround, depth_scale)
        if self.effects.floaters:
            scene = floaters.float_events(scene, groups, roles, SHARP_DEFOCUS_UM * depth_scale, draws)
            scene = floaters.float_around(scene, levels.floaters_per_mm2, groups, roles, field_um, draws)
        return scene

    def _illuminated(self, electrons: Tensor, levels: EffectLevels) -> Tensor:
        if self.effects.shading:
            electrons = camera_effects.vignette(electrons, levels.vignetting, self._effect_draws)
        if self.effects.hot_pixels:
            electrons = camera_effects.add_hot_pixels(electrons, levels.hot_per_pixel, self._effect_draws)
        return electrons

    def sigma_px(self, groups: Groups, defocus_um: Tensor) -> Tensor:
        """Optical blur (N, C) in px, before integration over pixels, of events at `defocus_um` (N,)."""
        in_focus = optics.psf_sigma_um(self._emission_nm, self.numerical_aperture, groups.optics_factor[:, None])
        away = optics.defocus_sigma_um(defocus_um[:, None] + groups.channel_focus_um, self.numerical_aperture)
        return (in_focus.square() + away.square()).sqrt() / self.pixel_size_um

    def expected_electrons(self, scene: Scene, groups: Groups, levels: EffectLevels) -> Tensor:
        """Noise-free electrons (N, C, S, S): objects, optics, bleed-through and a slightly sloping background."""
        count, channels = groups.stain.shape
        canvas = Canvas(count, channels, self.crop_size_px, self._margin_px, self.pixel_size_um, self.device)
        canvas.add_bodies(scene.bodies, self._textures, self.draws)
        canvas.add_dots(scene.dots, LARGEST_SIGMA_UM)
        canvas.add_dots(scene.floaters, floaters.SIGMA_UM[1])
        if self.effects.dense_specks:
            in_focus_um = self.sigma_px(groups, torch.zeros_like(scene.defocus_um)) * self.pixel_size_um
            specks = draw_specks(
                scene.bodies, levels, in_focus_um, self.pixel_size_um, self._field_um, self._effect_draws
            )
            canvas.add_specks(specks.dots, specks.channel, speck_patch_px(self.pixel_size_um))
        signal = self._blurred(canvas.values, self.sigma_px(groups, scene.defocus_um), levels)
        if self.effects.shading:
            signal = camera_effects.uneven_stain(signal, levels.stain_log_sd, self._stained, self._effect_draws)
        signal = camera.bleed_through(signal, groups.bleed)
        ramp = torch.linspace(-1, 1, self.crop_size_px, device=self.device)
        slope = self.draws.normal((count, 2, 1), 0.05)
        plane = 1 + (slope[:, 0] * ramp)[:, :, None] + (slope[:, 1] * ramp)[:, None, :]
        return signal + groups.background_e[:, :, None, None] * plane[:, None]

    def _blurred(self, canvas: Tensor, sigma_px: Tensor, levels: EffectLevels) -> Tensor:
        """The canvas (N, C, S + 2m, S + 2m) behind the optics, in (N, C, S, S)."""
        size_px, margin_px = self.crop_size_px, self._margin_px
        if not (self.effects.astigmatism or self.effects.channel_shift or self.effects.motion):
            return optics.blur(canvas, optics.blur_matrices(sigma_px, size_px, margin_px))
        wider = axis_blur.draw_widening(levels.astigmatism, self._effect_draws)
        sigma_px = sigma_px[..., None] * wider[:, None]
        motion_px = levels.motion_px[:, None].expand_as(sigma_px)
        return axis_blur.blur_axes(canvas, sigma_px, levels.shift_px, motion_px, size_px, margin_px)


def resolve_pixel_size_um(panel: Panel, pixel_size_um: float | None) -> float:
    """The stated pixel size, else the panel's, else `DEFAULT_PIXEL_SIZE_UM`."""
    if pixel_size_um is not None:
        return pixel_size_um
    return DEFAULT_PIXEL_SIZE_UM if panel.pixel_size_um is None else panel.pixel_size_um
