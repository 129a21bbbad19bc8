"""What reads and answers ComfyUI itself: its graph, its lists of files, progress, previews and routes."""
