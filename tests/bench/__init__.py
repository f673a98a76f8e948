# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the collection is beside what a user would take instead: `make bench`.

    __main__.py   which chapters, and where the results go
    chapters.py   what there is to measure, and who takes part
    stream_chapters.py, file_chapters.py, crowds.py, far.py
                  streams, whole tasks, many targets at once, and one that is far away
    scale.py      how much, and how often
    turns.py      peers take turns, and their figures are kept
    streams.py    the ways from a command to a command, each started by a task of Ansible
    transfers.py  Ansible's own ways to move files
    rig.py        the machines, and a task on them with what it used up
    accounts.py   processor time and memory of each side
    delay.py      the program that makes a network slow to answer
    machine.py    what was measured on, and with which versions
    results.py    the figures, to and from docs/benchmarks/results.json

From these figures come docs/benchmarks.md, its plots and a row of the README: `python -m bench.report`.

    report.py     writes them; benchmarks.md.j2 has the words
    findings.py   questions to the figures, such as for a median
    targets.py    which ratios are wanted
    tables.py, charts.py
                  what tables and plots show
    plots.py      draws the plots
    units.py      figures as text

Everything runs on one machine: the controller is this process's network namespace, the target another
one, at the end of a virtual cable (`harness.network`). All files are in memory. Peers take turns, in an
order that is another one each round, and what else the machine does then meets all of them alike.
"""
