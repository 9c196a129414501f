"""A log larger than memory: parquet in, arrays on disk out, piece by piece.

parquet     the files of a log, block by block
tally       the distinct ids and how many rows each has
pieces      rows in files by a number: the rows of some users, the rejected ones of some blocks
judge       blocks -> rows by user, with numbers for ids
settle      duplicates, the threshold and cores, some users at a time
rejected    what was not kept, in the order of the files
cut         the parts of a split, some users at a time
prepare     all of that: what ``Dataset.save`` and ``Split.save`` would write
"""
