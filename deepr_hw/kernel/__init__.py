"""What compiled code is made with: the cache, explicit vectors, random numbers."""
