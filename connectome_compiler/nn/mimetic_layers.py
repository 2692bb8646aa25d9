"""Layers under the names and arguments of the lab that published them.

`mLinear`, `mConv2d` and `mConvTranspose2d` take what the layers of ``mizutanilab/biomimetic-nn``
take, in the same order with the same defaults, and have the same masks, bit for bit. They differ
where those were wrong: the mask is not trained and cannot leak, what used to be a dead layer is
refused, and nothing is drawn from a global generator, hence the keyword ``mask_seed``. States of
the published PyTorch port load, with a warning that says what had become of the masks.
"""

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, cast

import torch
from torch import Tensor, nn

from connectome_compiler.nn.window_layers import (
    Device,
    Size,
    WindowConv2d,
    WindowConvTranspose2d,
    WindowLinear,
)
from connectome_compiler.nn.window_rules import WindowRule

Windowed = WindowLinear | WindowConv2d | WindowConvTranspose2d

FORMS = ("2d", "diagonal", "individual", "kernel", "random", "gaussian")


def lab_rule(
    n_post: int,
    n_pre: int,
    form: str,
    param_reduction: float,
    input2d_width: int,
    output2d_width: int,
    window2d_width: float,
    mask_seed: int = 0,
    *,
    halfbandwidth: float = 0,
    transposed: bool = False,
) -> WindowRule:
    """Return the rule that the lab's arguments stand for, from ``n_pre`` to ``n_post`` units.

    In a transposed convolution ``input2d_width`` is the width of the *outputs'* grid, as published.
    ``halfbandwidth``, unless it is 0, is that of "gaussian"; the other forms do not read it.
    Raises `ValueError` where the published layers are dead, wholly or in part.
    """
    if form not in FORMS:
        close = get_close_matches(str(form).lower(), FORMS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(FORMS)}"
        raise ValueError(f"no window form {form!r}; {hint}")
    pre, post = "input2d_width", "output2d_width"
    pre_width, post_width = input2d_width, output2d_width
    if transposed:
        pre, post, pre_width, post_width = post, pre, post_width, pre_width
    try:
        if form == "2d":
            rule = WindowRule(
                form,
                radius=window2d_width,
                pre_width=pre_width,
                post_width=post_width,
                transposed=transposed,
            )
        elif form == "gaussian" and halfbandwidth:
            rule = WindowRule(form, halfbandwidth=halfbandwidth, transposed=transposed)
        elif form in ("diagonal", "gaussian"):
            rule = WindowRule(form, reduction=param_reduction, transposed=transposed)
        else:
            rule = WindowRule(
                form, reduction=param_reduction, seed=mask_seed, transposed=transposed
            )
        rule.check(n_post, n_pre)
    except ValueError as error:  # in the words of the caller
        words = {
            "pre_width": pre,
            "post_width": post,
            "radius": "window2d_width",
            "reduction": "param_reduction",
            "seed": "mask_seed",
        }
        message = re.sub(r"\b(" + "|".join(words) + r")\b", lambda m: words[m[1]], str(error))
        raise ValueError(message) from error
    return rule


class _Lab:
    """What the lab's layers can be asked, and say of themselves."""

    mask: Tensor
    window: WindowRule
    usage: float
    _sizes: Callable[[], tuple[int, int, tuple[int, ...]]]
    _halfbandwidth: float

    def _finish(self, halfbandwidth: float, print_param_usage: bool) -> None:
        self._halfbandwidth = halfbandwidth
        if self.window.form in ("diagonal", "gaussian"):
            self._halfbandwidth = self.window.spread(*self._sizes()[:2])
        if halfbandwidth and self.window.form != "gaussian":
            warnings.warn(
                f"halfbandwidth={halfbandwidth:g} has no effect, as in the published layer; "
                f"a Window layer takes it with WindowRule('diagonal', halfbandwidth="
                f"{halfbandwidth:g})",
                stacklevel=3,
            )
        if print_param_usage:
            kept = self.get_num_weights() - self.get_num_zeros()
            print(
                f"{type(self).__name__}: {100 * self.usage:.5f} % of the weights are used "
                f"({kept} of {self.get_num_weights()})"
            )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *rest: Any, **more: Any
    ) -> None:
        """Take a state of the published port, too."""
        if prefix + "window" in state_dict:
            layer = cast(Windowed, self)
            try:
                state_dict, report = _read_published(layer, state_dict, prefix.removesuffix("."))
            except (KeyError, ValueError) as error:
                rest[-1].append(error.args[0])
                return
            warnings.warn(str(report), stacklevel=2)
        super()._load_from_state_dict(state_dict, prefix, *rest, **more)  # type: ignore[misc]

    def get_num_zeros(self) -> int:
        """Return how many weights are off the mask."""
        return self.get_num_weights() - round(self.usage * self.get_num_weights())

    def get_num_weights(self) -> int:
        """Return how many weights there are, on the mask and off it."""
        return self.mask.numel()

    def get_reduced_ratio(self) -> float:
        """Return the share of weights off the mask; of "gaussian", how much the bell takes away."""
        if self.window.form == "gaussian":  # the bell is 1 at its first entry
            return 1 - 1 / next(self.window.values(*self._sizes()[:2]))[0]
        return 1 - self.usage

    def get_halfbandwidth(self) -> float:
        """Return the half-width of the band or bell; of other forms, what was given."""
        return self._halfbandwidth


class mLinear(_Lab, WindowLinear):  # noqa: N801  # the published name
    """`nn.Linear` within a window; `lab_rule` explains the arguments."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        halfbandwidth: float = 0,
        param_reduction: float = 0.5,
        form: str = "diagonal",
        input2d_width: int = 10,
        output2d_width: int = 10,
        window2d_width: float = 1.41,
        print_param_usage: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        mask_seed: int = 0,
    ) -> None:
        sizes = out_features, in_features
        widths = input2d_width, output2d_width
        super().__init__(
            in_features,
            out_features,
            bias,
            window=lab_rule(
                *sizes,
                form,
                param_reduction,
                *widths,
                window2d_width,
                mask_seed,
                halfbandwidth=halfbandwidth,
            ),
            kernel="dense",
            device=device,
            dtype=dtype,
        )
        self._finish(halfbandwidth, print_param_usage)


class mConv2d(_Lab, WindowConv2d):  # noqa: N801
    """`nn.Conv2d` within a window over its channels; `lab_rule` explains the arguments."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        halfbandwidth: float = 0,
        param_reduction: float = 0.5,
        form: str = "diagonal",
        input2d_width: int = 10,
        output2d_width: int = 10,
        window2d_width: float = 1.41,
        print_param_usage: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        mask_seed: int = 0,
    ) -> None:
        sizes = out_channels, max(1, in_channels // max(1, groups))
        widths = input2d_width, output2d_width
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            window=lab_rule(
                *sizes,
                form,
                param_reduction,
                *widths,
                window2d_width,
                mask_seed,
                halfbandwidth=halfbandwidth,
            ),
            device=device,
            dtype=dtype,
        )
        self._finish(halfbandwidth, print_param_usage)


class mConvTranspose2d(_Lab, WindowConvTranspose2d):  # noqa: N801
    """`nn.ConvTranspose2d` within a window over its channels; `lab_rule` explains the arguments."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
        halfbandwidth: float = 0,
        param_reduction: float = 0.5,
        form: str = "diagonal",
        input2d_width: int = 10,
        output2d_width: int = 10,
        window2d_width: float = 1.41,
        print_param_usage: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        mask_seed: int = 0,
    ) -> None:
        sizes = max(1, out_channels // max(1, groups)), in_channels
        widths = input2d_width, output2d_width
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            output_padding,
            groups,
            bias,
            dilation,
            padding_mode,
            window=lab_rule(
                *sizes,
                form,
                param_reduction,
                *widths,
                window2d_width,
                mask_seed,
                halfbandwidth=halfbandwidth,
                transposed=True,
            ),
            device=device,
            dtype=dtype,
        )
        self._finish(halfbandwidth, print_param_usage)


@dataclass(frozen=True, slots=True)
class PublishedLayer:
    """What the trained mask of one published layer had become."""

    name: str
    n_weights: int
    n_on_mask: int
    n_drifted: int  # entries of its mask that were no longer exactly 0 or 1 as they should
    drift: tuple[float, float]  # smallest and largest entry on the mask
    n_leaked: int  # weights off the mask that acted
    leaked_energy: float  # their share of the sum of squares of all weights that acted

    def __str__(self) -> str:
        low, high = self.drift
        return (
            f"{self.name or 'layer'}: {self.n_drifted} of {self.n_weights} mask entries had "
            f"drifted (on the mask to {low:.3g}..{high:.3g}); {self.n_leaked} of "
            f"{self.n_weights - self.n_on_mask} weights off the mask acted, with "
            f"{100 * self.leaked_energy:.3g} % of the energy, and are dropped"
        )


@torch.no_grad()
def load_published_state(module: nn.Module, state: Mapping[str, Any]) -> list[PublishedLayer]:
    """Load a state of the published PyTorch port, whose masks (``window``) were trained.

    Weights become the ones that acted, ``weight * window``, without what is off the mask. All else
    is loaded as `nn.Module.load_state_dict` does. Returns, for each windowed layer, what its mask
    had become. Raises `KeyError` or `ValueError`, naming the entry, if the state is of another
    network or of other masks.
    """
    ours, reports = dict(state), []
    for name, layer in module.named_modules():
        if isinstance(layer, Windowed):
            ours, report = _read_published(layer, ours, name)
            reports.append(report)
    module.load_state_dict(ours)
    return reports


def _read_published(
    layer: Windowed, state: Mapping[str, Any], name: str
) -> tuple[dict[str, Any], PublishedLayer]:
    """Return the state as one of ours, as far as the layer called ``name`` goes."""
    prefix = f"{name}." if name else ""
    for key in ("weight", "window"):
        if prefix + key not in state:
            raise KeyError(f"{prefix}{key} is not in the state: is it of the published port?")
    if layer.values is not None:
        raise ValueError(f"{name or 'layer'} is of form 'gaussian', which the port has not")
    mask = layer._build_mask()
    weight, window = (state[prefix + key].detach().cpu() for key in ("weight", "window"))
    if weight.shape != mask.shape or window.shape != mask.shape:
        raise ValueError(
            f"{prefix}weight is {tuple(weight.shape)} and {prefix}window "
            f"{tuple(window.shape)}, expected {tuple(mask.shape)}"
        )
    on_mask = window[mask]
    # What is off a mask starts at zero and may stay there; what is on it starts at 1.
    if lost := int((on_mask == 0).sum()):
        raise ValueError(
            f"{prefix}window is of another mask: {lost} of the {len(on_mask)} entries that "
            f"{layer.window!r} keeps are zero in it"
        )
    acted = weight * window
    leaked = acted[~mask]
    energy = acted.double().square().sum().item()
    report = PublishedLayer(
        name=name,
        n_weights=mask.numel(),
        n_on_mask=len(on_mask),
        n_drifted=int((window != mask.to(window.dtype)).sum()),
        drift=(on_mask.min().item(), on_mask.max().item()),
        n_leaked=int(leaked.count_nonzero()),
        leaked_energy=leaked.double().square().sum().item() / energy if energy else 0.0,
    )
    ours = {key: entry for key, entry in state.items() if key != prefix + "window"}
    ours |= {prefix + "mask": mask, prefix + "weight": acted.masked_fill(~mask, 0)}
    return ours, report
