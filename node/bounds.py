"""What both ends keep to, apart from `protocol`: a command that only asks a manager should start at once."""

CONFIG_BYTES_MAX = 4 * 2**20
"""Of a gateway's configuration."""
