"""Fit the constants of the kernels' cost model to this machine.

    python benchmarks/calibrate.py [--quick]

Prints the table for `COSTS` in ``connectome_compiler/emit/cost_model.py``; takes three minutes,
or half a minute with ``--quick``.
"""

from _common import parser
from crossover import fit, judge, measure, print_costs


def main() -> None:
    """Measure, fit, print."""
    p = parser(__doc__)
    p.add_argument("--quick", action="store_true")
    if p.parse_args().quick:
        points = measure((512, 1536), (0.02, 0.1, 0.4), (1, 16, 128), repetitions=5)
        points += measure((30_000,), (0.001,), (1, 16, 64), repetitions=5)
    else:
        densities = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
        points = measure((512, 1024, 2048, 4096), densities, (1, 4, 16, 64, 256))
        points += measure((16_000, 50_000, 140_000), (0.0002, 0.001), (1, 4, 16, 64))
    costs = fit(points)
    print("\nmicroseconds per count:")
    print_costs(costs, points)
    judge(points, costs)


if __name__ == "__main__":
    main()
