"""Root file systems inside archives, container images and disks, as a host tree."""
