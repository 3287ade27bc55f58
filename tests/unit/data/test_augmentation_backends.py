from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, shift
from torch.nn import functional as F

from ctcnet.data.albumentations_chain import AlbumentationsChain
from ctcnet.data.augmentation import Augmentation, channel_presence
from ctcnet.data.crop_dataset import BatchRequest, CropDataset
from ctcnet.data.device_augmentation import DeviceAugmentation, blur_matrix, dihedral, dihedral_matrix
from ctcnet.errors import SettingError
from ctcnet.normalization import per_crop_levels
from ctcnet.seeded_random import uniform

pytestmark = pytest.mark.unit

EVERYTHING = Augmentation(
    affine=1, rotate_deg=20, shift_px=2, zoom=0.1, gain=0.2, offset=0.05, defocus=1, defocus_px=1, shot_noise=1
)
NOTHING = {"dihedral": False}
SEEDS = torch.arange(12) * 7919


def crops(count: int = 12) -> torch.Tensor:
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.normal(0, 1, (count, 3, 24, 24)), (0, 0, 2, 2))
    return torch.from_numpy(np.clip(400 + 900 * smooth, 0, 4095).astype(np.float32))


def device(settings: Augmentation, x: torch.Tensor, seeds: torch.Tensor = SEEDS) -> torch.Tensor:
    background, scale = torch.full(x.shape[:2], 100.0), torch.full(x.shape[:2], 500.0)
    return DeviceAugmentation(settings, 4095)(x, background, scale, seeds)


def albumentations(settings: Augmentation, x: torch.Tensor, seeds: torch.Tensor = SEEDS) -> torch.Tensor:
    chain = AlbumentationsChain(settings, 4095)
    background, scale = np.full(x.shape[1], 100, np.float32), np.full(x.shape[1], 500, np.float32)
    return torch.from_numpy(
        np.stack([chain(crop.numpy(), background, scale, int(s)) for crop, s in zip(x, seeds, strict=True)])
    )


BACKENDS = pytest.mark.parametrize("augment", [device, albumentations])


@BACKENDS
def test_depends_on_the_seed_and_not_on_the_batch(augment) -> None:
    x = crops()
    whole = augment(EVERYTHING, x)
    alone = torch.cat([augment(EVERYTHING, x[i : i + 1], SEEDS[i : i + 1]) for i in range(12)])
    assert torch.allclose(whole, alone, atol=1e-3)
    assert torch.equal(whole, augment(EVERYTHING, x))
    assert not torch.allclose(whole, augment(EVERYTHING, x, SEEDS + 1), atol=1.0)


@BACKENDS
def test_stays_within_the_camera_and_changes_every_crop(augment) -> None:
    x = crops()
    out = augment(EVERYTHING, x)
    assert out.dtype == torch.float32
    assert out.shape == x.shape
    assert 0 <= float(out.min()) <= float(out.max()) <= 4095
    assert torch.isfinite(out).all()
    assert ((out - x).abs().amax((1, 2, 3)) > 10).all()


@BACKENDS
def test_nothing_asked_for_changes_nothing(augment) -> None:
    x = crops()
    assert torch.allclose(augment(Augmentation(**NOTHING), x), x, atol=1e-3)


@BACKENDS
def test_dihedral_keeps_the_pixels(augment) -> None:
    x = crops(200)
    out = augment(Augmentation(), x, torch.arange(200))
    assert torch.allclose(out.flatten(2).sort().values, x.flatten(2).sort().values, atol=1e-3)
    assert 5 <= int((out - x).abs().amax((1, 2, 3)).lt(1e-3).sum()) <= 60  # an eighth stay as they are


def test_dihedral_gives_eight_different_elements() -> None:
    x = crops(1).repeat(8, 1, 1, 1)
    out = dihedral(x, torch.arange(8))
    assert len({tuple(crop.flatten().tolist()) for crop in out}) == 8
    assert torch.equal(out[0], x[0])
    matrix = torch.cat([dihedral_matrix(torch.arange(8)), torch.zeros(8, 2, 1)], dim=2)
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    assert torch.allclose(F.grid_sample(x, grid, align_corners=False), out, atol=0.1)


@BACKENDS
def test_gain_is_about_the_background(augment) -> None:
    x = torch.full((12, 3, 24, 24), 100.0)
    assert torch.allclose(augment(Augmentation(gain=0.5, **NOTHING), x), x, atol=1e-2)
    brighter = augment(Augmentation(gain=0.5, **NOTHING), x + 200)
    gains = ((brighter - 100) / 200)[:, :, 0, 0]
    assert np.exp(-0.5) - 1e-3 <= float(gains.min()) < float(gains.max()) <= np.exp(0.5) + 1e-3
    assert float(gains.std()) > 0.1


@BACKENDS
def test_offset_is_in_units_of_the_scale(augment) -> None:
    x = torch.full((12, 3, 24, 24), 300.0)
    moved = (augment(Augmentation(offset=0.1, **NOTHING), x) - x)[:, :, 0, 0]
    assert 20 < float(moved.abs().max()) <= 50.01


@BACKENDS
def test_shot_noise_has_the_variance_of_the_signal(augment) -> None:
    x = torch.full((400, 1, 24, 24), 1100.0)
    noise = augment(Augmentation(shot_noise=2.0, **NOTHING), x, torch.arange(400) * 31) - x
    assert abs(float(noise.mean())) < 1.0
    assert float(noise.var()) == pytest.approx(1000, rel=0.1)  # signal 1000 times the mean of g over 0 to 2
    dark = augment(Augmentation(shot_noise=2.0, **NOTHING), torch.full((2, 1, 24, 24), 100.0), SEEDS[:2])
    assert torch.allclose(dark, torch.full_like(dark, 100.0), atol=1e-2)


def test_blur_is_the_gaussian_of_scipy() -> None:
    x = crops(1)
    blur = blur_matrix(torch.tensor([1.3]), 24)[:, None]
    ours = (blur @ x @ blur.transpose(-1, -2))[0, 0].numpy()
    theirs = gaussian_filter(x[0, 0].numpy(), 1.3, truncate=8)
    assert np.allclose(ours[6:-6, 6:-6], theirs[6:-6, 6:-6], rtol=1e-4)


def test_shift_is_the_shift_of_scipy() -> None:
    x = crops()
    settings = Augmentation(affine=1, shift_px=3, **NOTHING)
    out = device(settings, x)
    signed = 2 * uniform(SEEDS, 1, 5)[:, 1:] - 1
    for crop, moved, (dx, dy) in zip(x, out, signed[:, 2:] * 3, strict=True):
        expected = shift(crop[0].numpy(), (-float(dy), -float(dx)), order=1, mode="nearest")
        assert np.allclose(moved[0].numpy(), expected, atol=0.5)


def test_channel_drop_keeps_one_channel() -> None:
    kept = channel_presence(torch.arange(2000), 4, 0.3)
    assert float((~kept).float().mean()) == pytest.approx(0.3, abs=0.03)
    assert channel_presence(torch.arange(500), 3, 1.0).sum(dim=1).eq(1).all()


def test_uniform_numbers_are_uniform_and_streams_differ() -> None:
    numbers = uniform(torch.arange(4000), 0, 3)
    assert 0 <= float(numbers.min()) < float(numbers.max()) < 1
    assert torch.allclose(numbers.mean(dim=0), torch.full((3,), 0.5), atol=0.03)
    other = uniform(torch.arange(4000), 1, 3)
    assert abs(float(np.corrcoef(numbers[:, 0], other[:, 0])[0, 1])) < 0.05
    assert abs(float(np.corrcoef(numbers[:, 0], numbers[:, 1])[0, 1])) < 0.05


@pytest.mark.parametrize("setting", [{"affine": 1.5}, {"gain": -1.0}, {"channel_drop": float("nan")}])
def test_settings_out_of_range(setting: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=next(iter(setting))):
        Augmentation(**setting)


def test_chain_knows_the_crops_own_levels_in_the_mode_per_crop() -> None:
    x = crops().numpy()
    background, scale = per_crop_levels(x, 64.0)

    def dataset(background: np.ndarray, scale: np.ndarray, floor: float | None) -> CropDataset:
        settings = Augmentation(backend="albumentations", dihedral=False, gain=0.5, offset=0.2, shot_noise=1)
        rest = {"seed": 0, "augmentation": settings, "full_scale": 4095, "per_crop_floor": floor}
        return CropDataset(lambda rows: x[rows], np.eye(12), np.ones(12), background, scale, **rest)

    request = BatchRequest(0, np.arange(12))
    stated = dataset(background, scale, None).__getitems__(request)["crops"]
    own = dataset(np.zeros_like(background), np.ones_like(scale), 64.0).__getitems__(request)["crops"]
    assert torch.equal(own, stated)
