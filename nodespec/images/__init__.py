"""Root file systems in archives and container images, as a host tree."""
