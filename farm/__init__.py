"""A film by many ComfyUI servers: each of its scenes is rendered by whichever is free.

Runs beside ComfyUI and not in it: nothing here imports ComfyUI, torch or the rest of the pack, and nothing of the pack
imports this. Servers are spoken to over HTTP; Dask `distributed` says who renders what. docs/farm.md shows how.
"""
