#!/usr/bin/env python3
"""The floor of a merge: reads all bytes of the inputs by position on two threads, writes a file of the output's size, syncs it.

usage: bench/floor.py OUT SIZE INPUT...    OUT: file to write, SIZE: its bytes; pieces in the second cache level, the fastest way
"""
import mmap
import os
import sys
import threading

PIECE = 128 << 10
THREADS = 2


def work(share, out, size, inputs):
    buffer = mmap.mmap(-1, PIECE)  # begins a page
    ends = [os.fstat(f).st_size for f in inputs]
    for at in range(share * PIECE, max([size, *ends]), THREADS * PIECE):
        for f, end in zip(inputs, ends):
            if at < end:
                os.preadv(f, [buffer], at)
        if at < size:
            os.pwrite(out, memoryview(buffer)[: min(PIECE, size - at)], at)


def main():
    out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o644)
    inputs = [os.open(name, os.O_RDONLY) for name in sys.argv[3:]]
    threads = [threading.Thread(target=work, args=(i, out, int(sys.argv[2]), inputs)) for i in range(THREADS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if int(sys.argv[2]) > 0:
        os.fsync(out)


main()
