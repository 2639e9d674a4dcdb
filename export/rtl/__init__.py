"""The frozen network as the memory image of the RTL engine, and the folder for a board."""
