"""Figures of real processes on this machine, beside the system that people would pick instead.

`python -m benchmarks` prints them as markdown; none of them is a test, and none fails on a slow machine.
"""
