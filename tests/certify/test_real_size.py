"""Modules of real size, altered by hand: the shorter battery of large networks finds it, too."""

from pathlib import Path
from typing import Any

import pytest

import connectome_compiler as cc
from connectome_compiler.certify.certificate import validate
from connectome_compiler.errors import VerifyError

# 200 x 200 neurons, each with the hundred nearest: 4 million connections.
SHEET: dict[str, Any] = {"grids": [[200, 200]], "radius": 0.0285}
PUBLISHED: dict[str, Any] = {"classes": 1000, "rng": "legacy", "mask_seed": 2021}
PRE = 'self.hold("cpu", ptr=ptr, pre=pre, sign=sign)'
MOVED = "pre = pre.clone()\n        pre[int((pre.diff() > 1).nonzero()[-1])] += 1\n        "
ONE = "weight.to(dtype) * (1 + (torch.arange(len(weight)) == 2_000_000).to(dtype)),"
OPEN = "index = mask.flatten().nonzero().squeeze(1)"
LOGITS = "logits: Tensor = self.read_out(torch.cat(pooled, 1))\n"
# What stands in the code, what in its place, and where the finding is.
EDITS: dict[str, dict[str, tuple[str, str, str]]] = {
    "synthetic": {
        "a source moved": (PRE, MOVED + PRE, "connects other neurons"),
        "a weight counts twice": ("            weight.to(dtype),", ONE, "forward"),
        "time constants": ("alpha = -torch.expm1(-", "alpha = -torch.expm1(-1.001 * ", "forward"),
        "state in another order": ("last.t()", "last.roll(1, 0).t()", "state"),
        "wrong in large batches": (
            "return self.neurons_to_output(rates), state",
            "return self.neurons_to_output(rates * (1 + 0.1 * (rates.shape[1] > 64))), state",
            "state",
        ),
    },
    "mousenet": {
        "a mask dilated": (
            OPEN,
            OPEN.replace("mask", "(mask | (mask.roll(1, 3) & (mask.shape[3] == 9)))"),
            "has",
        ),
        "a projection turned": (" = self.lgnd_to_visp4(lgnd)", " = -self.lgnd_to_visp4(lgnd)", ""),
        "padding at the other end": (
            "(0, self.end_padding[1], 0, self.end_padding[0])",
            "(self.end_padding[1], 0, self.end_padding[0], 0)",
            "",
        ),
        "maps read in another order": (
            "for name in READ_OUT]",
            "for name in [*READ_OUT][::-1]]",
            "",
        ),
        "a fifth less in half precision": (
            LOGITS,
            f"{LOGITS}        logits = logits * (0.8 if logits.dtype == torch.bfloat16 else 1)\n",
            "bfloat16",
        ),
    },
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("real")
    settings = {"synthetic": SHEET, "mousenet": PUBLISHED}
    for recipe, options in settings.items():
        cc.build(recipe, folder / f"{recipe}.py", settings=options, verify=False)
    return {recipe: folder / f"{recipe}.py" for recipe in settings}


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "edit"), [(r, edit) for r in EDITS for edit in EDITS[r]])
def test_an_edit_at_real_size_is_found(recipe: str, edit: str, built: dict[str, Path]) -> None:
    part, other, where = EDITS[recipe][edit]
    text = built[recipe].read_text()
    assert part in text
    path = built[recipe].with_name(f"{recipe}.py")
    path.write_text(text.replace(part, other, 1))
    try:
        with pytest.raises(VerifyError) as found:
            validate(path)
    finally:
        path.write_text(text)
    assert where in str(found.value)
