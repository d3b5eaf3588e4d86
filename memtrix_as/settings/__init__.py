"""How settings are read and checked; `memtrix_as.config` is the face that the rest imports."""
