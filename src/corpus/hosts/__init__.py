"""The one place that starts processes and calls the kernel: local, container, SSH, fake."""
