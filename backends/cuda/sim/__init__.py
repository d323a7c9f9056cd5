"""cuda-sim: executes CUDA C kernels on the host and checks every memory access, barrier and shuffle."""
