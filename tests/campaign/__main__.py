"""`python -m tests.campaign`: runs are killed, damaged and lied about, very often.

One line of figures is printed at the end; the exit status is 1 where one is not as promised.
"""

import sys
from pathlib import Path

_TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(_TESTS.parent / ".links"), str(_TESTS)]

if __name__ == "__main__":
    from campaign.whole import main

    sys.exit(main(sys.argv[1:]))
