"""Time whole processes of ``salt-call --local test.ping``, started from within the environment."""

import json
import subprocess
import sys
import time

taken = []
for _ in range(int(sys.argv[1])):
    began = time.perf_counter()
    subprocess.run(
        ["salt-call", "--local", "--out=json", "test.ping"], check=True, capture_output=True
    )
    taken.append(time.perf_counter() - began)
print(json.dumps(taken))
