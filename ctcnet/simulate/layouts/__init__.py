"""Writers of simulated cartridges, one per scanner layout: file names, tags and records as that scanner writes them."""
