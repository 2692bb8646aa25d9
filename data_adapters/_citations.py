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
LAPPALAINEN_2024 = (
    "Lappalainen et al. (2024). Connectome-constrained networks predict neural activity across the"
    " fly visual system. Nature 634:1132-1140. https://doi.org/10.1038/s41586-024-07939-3"
)
RIVERA_ALBA_2011 = (
    "Rivera-Alba et al. (2011). Wiring economy and volume exclusion determine neuronal placement in"
    " the Drosophila brain. Current Biology 21:2000-2005."
    " https://doi.org/10.1016/j.cub.2011.10.022"
)
TAKEMURA_2015 = (
    "Takemura et al. (2015). Synaptic circuits and their variations within different columns in the"
    " visual system of Drosophila. PNAS 112:13711-13716. https://doi.org/10.1073/pnas.1509820112"
)
SHINOMIYA_2019 = (
    "Shinomiya et al. (2019). Comparisons between the ON- and OFF-edge motion pathways in the"
    " Drosophila brain. eLife 8:e40025. https://doi.org/10.7554/eLife.40025"
)
WHITE_1986 = (
    "White et al. (1986). The structure of the nervous system of the nematode Caenorhabditis"
    " elegans. Phil Trans R Soc B 314:1-340. https://doi.org/10.1098/rstb.1986.0056"
)
DURBIN_1987 = (
    "Durbin (1987). Studies on the development and organisation of the nervous system of"
    " Caenorhabditis elegans. PhD thesis, University of Cambridge"
)
VARSHNEY_2011 = (
    "Varshney et al. (2011). Structural properties of the Caenorhabditis elegans neuronal network."
    " PLoS Comput Biol 7:e1001066. https://doi.org/10.1371/journal.pcbi.1001066"
)
BENTLEY_2016 = (
    "Bentley et al. (2016). The multilayer connectome of Caenorhabditis elegans."
    " PLoS Comput Biol 12:e1005283. https://doi.org/10.1371/journal.pcbi.1005283"
)
COOK_2019 = (
    "Cook et al. (2019). Whole-animal connectomes of both Caenorhabditis elegans sexes."
    " Nature 571:63-71. https://doi.org/10.1038/s41586-019-1352-7"
)
COOK_2020 = (
    "Cook et al. (2020). The connectome of the Caenorhabditis elegans pharynx."
    " J Comp Neurol 528:2767-2784. https://doi.org/10.1002/cne.24932"
)
FENYVES_2020 = (
    "Fenyves et al. (2020). Synaptic polarity and sign-balance prediction using gene expression"
    " data in the Caenorhabditis elegans chemical synapse neuronal connectome network."
    " PLoS Comput Biol 16:e1007974. https://doi.org/10.1371/journal.pcbi.1007974"
)
BRITTIN_2021 = (
    "Brittin et al. (2021). A multi-scale brain map derived from whole-brain volumetric"
    " reconstructions. Nature 591:105-110. https://doi.org/10.1038/s41586-021-03284-x"
)
WITVLIET_2021 = (
    "Witvliet et al. (2021). Connectomes across development reveal principles of brain maturation."
    " Nature 596:257-261. https://doi.org/10.1038/s41586-021-03778-8"
)
RANDI_2023 = (
    "Randi et al. (2023). Neural signal propagation atlas of Caenorhabditis elegans."
    " Nature 623:406-414. https://doi.org/10.1038/s41586-023-06683-4"
)
RIPOLL_SANCHEZ_2023 = (
    "Ripoll-Sanchez et al. (2023). The neuropeptidergic connectome of C. elegans."
    " Neuron 111:3570-3589. https://doi.org/10.1016/j.neuron.2023.09.043"
)
WANG_2024 = (
    "Wang et al. (2024). A neurotransmitter atlas of C. elegans males and hermaphrodites."
    " eLife 13:RP95402. https://doi.org/10.7554/eLife.95402"
)
YIM_2024 = (
    "Yim et al. (2024). Comparative connectomics of dauer reveals developmental plasticity."
    " Nat Commun 15:1546. https://doi.org/10.1038/s41467-024-45943-3"
)
CECT = (
    "OpenWorm (2026). cect, the C. elegans Connectome Toolbox."
    " https://github.com/openworm/ConnectomeToolbox"
)
C302_2018 = (
    "Gleeson et al. (2018). c302: a multiscale framework for modelling the nervous system of"
    " Caenorhabditis elegans. Phil Trans R Soc B 373:20170379."
    " https://doi.org/10.1098/rstb.2017.0379"
)
DORKENWALD_2024 = (
    "Dorkenwald et al. (2024). Neuronal wiring diagram of an adult brain."
    " Nature 634:124-138. https://doi.org/10.1038/s41586-024-07558-y"
)
SCHLEGEL_2024 = (
    "Schlegel et al. (2024). Whole-brain annotation and multi-connectome cell typing of Drosophila."
    " Nature 634:139-152. https://doi.org/10.1038/s41586-024-07686-5"
)
ECKSTEIN_2024 = (
    "Eckstein et al. (2024). Neurotransmitter classification from electron microscopy images at"
    " synaptic sites in Drosophila melanogaster. Cell 187:2574-2594."
    " https://doi.org/10.1016/j.cell.2024.03.016"
)
SHIU_2024 = (
    "Shiu et al. (2024). A Drosophila computational brain model reveals sensorimotor processing."
    " Nature 634:210-219. https://doi.org/10.1038/s41586-024-07763-9"
)
MATSLIAH_2023 = "Matsliah et al. (2023). Codex: Connectome Data Explorer. https://codex.flywire.ai"
BERG_2025 = (
    "Berg et al. (2025). Sexual dimorphism in the complete connectome of the Drosophila male"
    " central nervous system. bioRxiv 2025.10.09.680999. https://doi.org/10.1101/2025.10.09.680999"
)
BATES_2026 = (
    "Bates et al. (2026). Distributed control circuits across a brain-and-cord connectome. Nature."
    " https://doi.org/10.1038/s41586-026-10735-w"
)
WINDING_2023 = (
    "Winding et al. (2023). The connectome of an insect brain. Science 379:eadd9330."
    " https://doi.org/10.1126/science.add9330"
)
PEDIGO_2023 = (
    "Pedigo et al. (2023). Generative network modeling reveals quantitative definitions of"
    " bilateral symmetry exhibited by a whole insect brain connectome. eLife 12:e83739."
    " https://doi.org/10.7554/eLife.83739"
)
SCHEFFER_2020 = (
    "Scheffer et al. (2020). A connectome and analysis of the adult Drosophila central brain."
    " eLife 9:e57443. https://doi.org/10.7554/eLife.57443"
)
SAIGA_2025 = (
    "Saiga et al. (2025). Structural differences between human and mouse neurons and their"
    " implementation in generative AIs. Scientific Reports 15:25091."
    " https://doi.org/10.1038/s41598-025-10912-3"
)
MIZUTANI_2022 = (
    "Mizutani et al. (2022). Schizophrenia-mimicking layers outperform conventional neural network"
    " layers. Frontiers in Neurorobotics 16:851471. https://doi.org/10.3389/fnbot.2022.851471"
)
SHI_2022 = (
    "Shi et al. (2022). MouseNet: a biologically constrained convolutional neural network model for"
    " the mouse visual cortex. PLoS Comput Biol 18:e1010427."
    " https://doi.org/10.1371/journal.pcbi.1010427"
)
BILLEH_2020 = (
    "Billeh et al. (2020). Systematic integration of structural and functional data into"
    " multi-scale models of mouse primary visual cortex. Neuron 106:388-403."
    " https://doi.org/10.1016/j.neuron.2020.01.040"
)
STEPANYANTS_2008 = (
    "Stepanyants et al. (2008). Local potential connectivity in cat primary visual cortex."
    " Cereb Cortex 18:13-28. https://doi.org/10.1093/cercor/bhm027"
)
LEVY_REYES_2012 = (
    "Levy and Reyes (2012). Spatial profile of excitatory and inhibitory synaptic connectivity in"
    " mouse primary auditory cortex. J Neurosci 32:5609-5619."
    " https://doi.org/10.1523/JNEUROSCI.5158-11.2012"
)
KNOX_2018 = (
    "Knox et al. (2018). High-resolution data-driven model of the mouse connectome."
    " Network Neuroscience 3:217-236. https://doi.org/10.1162/netn_a_00066"
)
DURAND_2016 = (
    "Durand et al. (2016). A comparison of visual response properties in the lateral geniculate"
    " nucleus and primary visual cortex of awake and anesthetized mice. J Neurosci 36:12144-12156."
    " https://doi.org/10.1523/JNEUROSCI.1741-16.2016"
)
BHATTASALI_2022 = (
    "Bhattasali, Zador & Engel (2022). Neural circuit architectural priors for embodied control."
    " Advances in Neural Information Processing Systems 35. https://arxiv.org/abs/2201.05242"
)
