"""The CUDA backend: CUDA C text from level 5, compiled by NVRTC, launched through CuPy; and cuda-sim, which runs the
same text on the host."""
