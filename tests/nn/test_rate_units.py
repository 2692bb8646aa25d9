"""Rate units against their definition; rates are never negative."""

import pytest
import torch
from torch import nn

from connectome_compiler.nn.rate_units import RateUnits


def test_settling_is_one_pass() -> None:
    within = nn.Linear(4, 4, bias=False)
    drive = torch.randn(3, 4)
    u = torch.relu(drive)
    expected = torch.relu(drive + within(u))
    torch.testing.assert_close(RateUnits(4, normalisation="none")(drive, within), expected)


@pytest.mark.parametrize("form", ["multiplicative", "subtractive"])
def test_inhibition_attenuates_each_unit(form: str) -> None:
    r = torch.tensor([0.0, 0.5, 1.0])
    units = RateUnits(3, normalisation="none", inhibition=r, form=form, strength=0.5)
    a = torch.tensor([[1.0, 1.0, 0.2]])
    expected = a * (1 - 0.5 * r) if form == "multiplicative" else torch.relu(a - 0.5 * r)
    torch.testing.assert_close(units(a), expected)
    assert "inhibition" in units.state_dict()
    assert not list(units.parameters())


def test_normalisations() -> None:
    drive = torch.randn(5, 8) * 3 + 1
    layer = RateUnits(8)(drive)
    torch.testing.assert_close(layer, torch.relu(nn.functional.layer_norm(drive, (8,))))
    rms = drive / (drive.square().mean(1, keepdim=True) + 1e-5).sqrt()
    units = RateUnits(8, normalisation="rms")
    torch.testing.assert_close(units(drive), torch.relu(rms))
    assert not list(units.parameters())


def test_noise_never_makes_a_rate_negative() -> None:
    units = RateUnits(1000, normalisation="none", noise_std=1.0)
    rates = units(torch.zeros(2, 1000))
    assert (rates >= 0).all()
    assert rates.std() > 0.3
    assert torch.equal(units.eval()(torch.zeros(1, 1000)), torch.zeros(1, 1000))


@pytest.mark.parametrize("options", [{"normalisation": "batch"}, {"form": "divisive"}])
def test_unknown_choices_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(options.values()))):
        RateUnits(3, **options)  # type: ignore[arg-type]
