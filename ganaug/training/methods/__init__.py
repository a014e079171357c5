"""Methods of finding directions: one file each, one registry."""
