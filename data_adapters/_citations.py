"""Papers that adapters cite, each written once."""

MICRONS_2025 = (
    "The MICrONS Consortium (2025). Functional connectomics spanning multiple areas of mouse"
    " visual cortex. Nature 640:435-447. https://doi.org/10.1038/s41586-025-08790-w"
)
SCHNEIDER_MIZELL_2025 = (
    "Schneider-Mizell et al. (2025). Inhibitory specificity from a connectomic census of mouse"
    " visual cortex. Nature 640:448-458. https://doi.org/10.1038/s41586-024-07780-8"
)
ELABBADY_2025 = (
    "Elabbady et al. (2025). Perisomatic ultrastructure efficiently classifies cells in mouse"
    " cortex. Nature 640:478-486. https://doi.org/10.1038/s41586-024-07765-7"
)
CAMPAGNOLA_2022 = (
    "Campagnola et al. (2022). Local connectivity and synaptic dynamics in mouse and human"
    " neocortex. Science 375:eabj5861. https://doi.org/10.1126/science.abj5861"
)
V1_MODEL_2026 = (
    "Allen Institute (2026). biorealistic-v1-model, connection probabilities of the V1DD"
    " volume. https://github.com/AllenInstitute/biorealistic-v1-model, commit 33027662"
)
