"""`python -m tests.chaos.bugged WORDS`: apilink, with the deliberate bug that CHAOS_BUG names."""

import os
import sys

from proxy.__main__ import main
from tests.chaos.bugs import apply

if __name__ == "__main__":
    apply(os.environ.get("CHAOS_BUG", ""))
    sys.argv[0] = "apilink"
    main()
