"""Work on many processes, GPUs and machines, by Dask."""
