"""Real Linux hosts on this machine, without a container engine: overlay, namespaces, OpenSSH. Needs root.

The hosts are Debian 12 userlands under other distros' names, with those distros' real package-manager clients and
packages under their names (`debian12` and `debian13` are the real ones, and so are `jammy`, `noble` and `resolute`,
which come from Ubuntu's archive). What this does not prove: real repository contents, other C libraries, SELinux,
systemd, cloud-init, kernels, GPUs. See docs/distros.md.
"""
