"""Train with several processes: ``torchrun --nproc_per_node=N pipelines/train.py CONFIG``.

The same as ``recsys train CONFIG``, with its options. Every process reads its own users of each
step; a process that dies is replaced with ``--max-restarts``, and all go on from the checkpoint.
"""

import sys

from recsys.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    main()
