"""What a generator's images are worth to somebody: do they help a classifier, and whom do they give away?"""
