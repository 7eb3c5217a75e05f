"""Detection on a scene: choose bands, fit, score window by window, on this machine or a cluster."""
