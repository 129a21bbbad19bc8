"""What reads ComfyUI's own structures: the graph of a run, and what it says before its nodes have run."""
