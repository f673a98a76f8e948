#!/usr/bin/python
# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: socketpipe
short_description: Connect a remote command to local commands over a direct TCP connection
version_added: 0.1.0
description:
  - Feeds the standard output of a local command to a command on the target, or the standard
    output of a command on the target to a local command, or both at once.
  - The data goes over TCP connections of its own, straight from process to process. The login (ssh,
    for example) only sets them up, so there is no cipher, no compression and no copy on the way.
  - A reader sees the end of the data only after its writer ended well. When anything else happens (a
    command fails or is killed, a machine or the network goes away) it sees a read error.
  - The task succeeds only if every command ended with an accepted exit status and both machines
    counted the same bytes.
notes:
  - Without O(encrypt) the data is B(not encrypted). Both ends prove to each other that they belong to this
    task before a byte of it is sent, but whoever can read the network in between can read the data,
    and whoever can change packets there can change it.
  - TCP connections have to get through in one direction, from the target to the controller or the other way;
    which of the two does not matter. See O(listen), and O(ports) for firewalls.
  - C(become) and C(environment) apply to O(remote) only. O(input) and O(output) run as the user
    and with the environment that Ansible itself has on the controller.
  - Each command runs in a session of its own, without a terminal. O(input) without O(input_file) has an
    empty standard input, and so has O(remote) without an input.
  - What a command leaves running in the background when it ends is cut off from the data. It is not cut off
    from an O(output_file) that was the standard output of O(output), so let O(output) wait for all it starts.
  - Byte counts are exact on Linux, and V(none) where the system does not tell.
options:
  remote:
    description:
      - The command to run on the target.
      - A string is split into words as a shell does, and run without a shell. A list is taken as the
        words themselves.
    type: raw
    required: true
  input:
    description:
      - The command on the controller whose standard output becomes the standard input of O(remote).
      - At least one of O(input), O(input_file), O(output) and O(output_file) is required.
      - With O(input_file) it reads that file as its standard input.
      - Written like O(remote).
    type: raw
  input_file:
    description:
      - A file on the controller that takes the place of O(input), or with O(input) is its standard input.
      - Without O(input) a regular file or a block device is sent by the kernel (sendfile), without a command.
        A character device or a FIFO is read by C(dd), with O(block_size) or 1 MiB for each read.
      - A file that grows while it is sent is sent to the end that is found there; one that gets shorter
        fails the task. What O(input) makes of such a file is its own affair.
      - If something changes the file in place while it is sent, without making it shorter, a part may be
        sent as it was and a part as it is then. Nothing notices that, not even O(checksum).
      - Relative to O(local_chdir), if it is not absolute.
    type: path
  output:
    description:
      - The command on the controller whose standard input is the standard output of O(remote).
      - Without it and without O(output_file), what O(remote) prints is returned in RV(stdout).
      - With O(output_file) what it prints goes to that file.
      - Written like O(remote).
    type: raw
  output_file:
    description:
      - A file on the controller that takes the place of O(output), or with O(output) is its standard output.
      - A regular file is written beside its place, and gets its name when the task has succeeded and all of
        it is on the disk. Before that nothing is seen of it, and a file of that name stays as it was. A
        symbolic link is replaced, not followed.
      - A block device is written in its place, and what was written is on it when the task succeeds. A
        character device or a FIFO is written by O(output), or without that by C(dd), with O(block_size)
        or 1 MiB for each write.
      - Relative to O(local_chdir), if it is not absolute.
    type: path
  mode:
    description:
      - The permissions of O(output_file), as M(ansible.builtin.copy) takes them, such as V('0640') or
        V(u=rw,g=r). While it is written nobody else may open it.
      - By default those of the file that it replaces, with its access list, but without its set-user-ID,
        set-group-ID and sticky bits, which it has only if you name them, and without those for the group
        if that can not be kept. A new file has what the umask of Ansible leaves of V('0666').
    type: raw
  owner:
    description:
      - The user, by name or number, that O(output_file) is given to.
      - By default that of the file that it replaces, as far as the user who runs Ansible may do that.
    type: str
  group:
    description:
      - The group, by name or number, that O(output_file) is given to.
      - By default that of the file that it replaces, as far as the user who runs Ansible may do that.
    type: str
  backup:
    description:
      - Keep the file that O(output_file) replaces, under a name with the date and the time. See
        RV(backup_file). Such a name is up to 32 bytes longer, and has to be possible.
      - Where the old file can not be linked, it is copied, without set-user-ID and the like. The copy
        can be opened by its owner alone if its owner or group can not be kept.
    type: bool
    default: false
  shell:
    description:
      - Run the commands, which then have to be strings, with C(/bin/sh -c).
    type: bool
    default: false
  chdir:
    description: The directory on the target in which O(remote) runs.
    type: path
  local_chdir:
    description:
      - The directory on the controller in which O(input) and O(output) run, and to which O(input_file) and
        O(output_file) are relative.
    type: path
  creates:
    description:
      - A file name or glob pattern on the target. If something matches, nothing runs.
    type: path
  removes:
    description:
      - A file name or glob pattern on the target. If nothing matches, nothing runs.
    type: path
  local_creates:
    description:
      - A file name or glob pattern on the controller. If something matches, nothing runs.
    type: path
  local_removes:
    description:
      - A file name or glob pattern on the controller. If nothing matches, nothing runs.
    type: path
  accept_rc:
    description:
      - The exit statuses that count as success, for each command.
      - A command that a signal ended has the status 128 plus the number of the signal, as in a shell.
      - Accepting 141 (SIGPIPE) of a command that writes says that its reader may end before it has read
        everything, as C(head) does. Otherwise that fails the task.
      - A file that no command reads or writes has no exit status. Of O(input_file) without O(input) only 141
        counts here, which lets O(remote) end early; for O(output_file) without O(output) nothing does.
      - For example, tar exits 1 when a file changed while it was read.
    type: dict
    default: {}
    suboptions:
      input:
        description: Accepted statuses of O(input). For O(input_file) without it, all that counts is 141.
        type: list
        elements: int
        default: [0]
      remote:
        description: Accepted statuses of O(remote).
        type: list
        elements: int
        default: [0]
      output:
        description: Accepted statuses of O(output).
        type: list
        elements: int
        default: [0]
  listen:
    description:
      - Who listens for the other. V(local) has the target connect to the controller, V(remote) the controller
        to the target.
      - V(auto) tries both at once, and uses the first way that works.
    type: str
    choices: [auto, local, remote]
    default: auto
  host:
    description:
      - The address or name of the controller, as the target reaches it.
      - By default the target tries, in this order, the address that its login came from, the
        controller's address on the route to the target, and the controller's other addresses.
      - An address that belongs to the controller itself is also the only one it listens on.
    type: str
  remote_host:
    description:
      - The address or name of the target, as the controller reaches it.
      - By default the controller tries C(ansible_host), all addresses of it if it is a name, and
        the addresses in the target's facts if they were gathered. If C(ansible_host) is a name that
        only the login knows (an alias of ssh, a container), the target is asked for its addresses.
      - An address that belongs to the target itself is also the only one it listens on.
    type: str
  ports:
    description:
      - The ports to listen on, on either machine, as C(first-last) or a single one. One of them is
        used for each session, and only until its connections are made.
      - By default the controller's system chooses the controller's port, and the target's is one
        from 61000 to 65535.
    type: str
  encrypt:
    description:
      - Encrypt everything between the two machines with TLS 1.3, each authenticated by a certificate
        that is made for this task alone.
      - The data then passes through a process of Python on both machines, which costs speed; it stays
        a good deal faster than a pipe through ssh.
      - Needs the Python library cryptography on the controller, which ansible-core needs anyway, and
        nothing but Python's own ssl module with TLS 1.3 on the target. Where that is missing, the task
        fails. It never goes on without encryption.
    type: bool
    default: false
  checksum:
    description:
      - The hash, such as V(sha256), of the data in each direction. Both machines compute it, and a
        difference fails the task. O(remote) and O(output) see the end of their data only after it has
        been found equal.
      - Any name that Python's hashlib knows on both machines and that has a size of its own, or V(crc32).
      - The data then passes through a process of Python on both machines, which costs speed.
    type: str
  block_size:
    description:
      - The number of bytes, such as V(32k), that each read of a reading command gets if it asks for as
        many, but for the last one. The network alone gives its data in pieces of any size.
      - For O(remote) and O(output) alike. A tape drive needs it; V(32k) are 32768 bytes.
    type: str
  rate_limit:
    description:
      - The number of bytes per second, such as V(50M), that each direction sends at most. V(50M) are
        50 times 1048576 bytes.
      - The kernel of the sending machine sees to it, which has to be Linux.
    type: str
  helper:
    description:
      - The path or name of a C(socketpipe) program on the target, which runs O(remote) instead of a module.
        That is for targets without Python, where it has to be the C program, version 1.10; this
        collection's own, which needs Python, is installed by the role P(dds.socketpipe.helper#role).
      - The program connects to the controller, in the protocol of version 1.10. Much is lost by
        that, see RV(helper.lost); O(encrypt), O(checksum), O(block_size), O(rate_limit), O(creates),
        O(removes) and O(remote_host) are not possible, nor is O(listen=remote).
    type: str
  progress:
    description:
      - The seconds between two lines that say how many bytes have moved and how fast, and with O(size) how
        many percent that is and how long the rest takes. V(0) for no line.
      - The lines also keep what watches for a quiet task, as a job's idle timeout does, from ending it.
      - With the callback plugin P(dds.socketpipe.progress#callback) there are bars instead, which are
        drawn twice a second unless this is V(0).
      - The counts come from the kernel. They are not taken more often than twice a second.
    type: float
    default: 30
  size:
    description:
      - The number of bytes, such as V(10G), that are expected of O(input), or without an input of
        O(remote). V(10G) are 10 times 1073741824 bytes.
      - It is for O(progress) alone; nothing happens if there are more or less. V(0) is taken for not known.
      - By default the size of O(input_file), if that is a regular file and there is no O(input).
    type: str
  timeout:
    description: Seconds to find a way between the two machines, from when both sides look for one.
    type: float
    default: 30
  stall_timeout:
    description:
      - Seconds without a byte in any direction after which the task fails, V(10) or more; V(0) for no limit.
      - A command that has read all its data and works on is no stall, unless it still has something to write.
      - Without it a session may be silent for hours, as while a tape is changed. The task fails in any case
        if the other machine or the network is gone.
    type: float
    default: 0
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  async:
    description: Supports being used with the C(async) keyword.
    support: full
    details: >-
      The session does not need the login once it runs. With C(poll=0) it outlives the playbook, too, in a
      process of its own on the controller. Its result is made on the target, by whose clock its times
      are, and the commands of both sides are in it.
  check_mode:
    support: full
    details: >-
      A preflight. It tells whether the commands would run, from O(creates), O(removes), O(local_creates) and
      O(local_removes), whether their executables and directories exist, and whether O(input_file) can be
      read and O(output_file) be written; then the two machines meet as for
      a session, prove themselves to each other and measure the round trip. No command is run.
      With C(async) it takes ansible-core 2.17 or later, for 2.16 refuses the two of them together.
  diff_mode:
    support: none
  platform:
    platforms: posix
seealso:
  - module: ansible.builtin.command
  - module: ansible.builtin.copy
  - module: ansible.builtin.fetch
author:
  - The dds.socketpipe contributors (@dds-socketpipe)
"""

EXAMPLES = r"""
- name: Back up the controller on the tape drive of the target
  dds.socketpipe.socketpipe:
    input: tar cf - /
    remote: dd of=/dev/st0 bs=32k
    block_size: 32k

- name: Pull a disk image by day, leaving most of the network to others
  become: true
  dds.socketpipe.socketpipe:
    remote: dd if=/dev/vg0/data bs=1M
    output_file: /backup/data.img
    mode: '0600'
    rate_limit: 20M

- name: Pull a disk image of 200 GB, with a line on how far it is every five minutes
  become: true
  dds.socketpipe.socketpipe:
    remote: dd if=/dev/vg0/data bs=1M
    output_file: /backup/data.img
    size: 200G
    progress: 300

- name: Pull a database dump over a network that others can read
  dds.socketpipe.socketpipe:
    remote: pg_dump -Fc shop
    output_file: /backup/shop.dump
    encrypt: true
    checksum: sha256

- name: Pull an archive and compress it here; its file appears only when it is whole
  dds.socketpipe.socketpipe:
    remote: tar cf - /srv
    output: zstd -qc
    output_file: /backup/srv.tar.zst

- name: Restore it, decompressing here
  dds.socketpipe.socketpipe:
    input: zstd -dqc
    input_file: /backup/srv.tar.zst
    remote: tar xpf - -C /

- name: Load a dump, which has to be whole
  dds.socketpipe.socketpipe:
    input_file: /backup/shop.sql
    remote: psql --single-transaction --set ON_ERROR_STOP=1 --file=- shop

- name: Restore from the tape drive of the target
  dds.socketpipe.socketpipe:
    remote: dd if=/dev/st0 bs=32k
    output: tar xpf - -C /home/luser

- name: Let the target compress, and keep the result here
  dds.socketpipe.socketpipe:
    input: tar cf - /srv
    remote: bzip2 -c
    output: dd of=/dev/st0 bs=32k

- name: Pull a live file system as root; the file appears only when it is whole
  become: true
  dds.socketpipe.socketpipe:
    remote: tar cf - /var
    output_file: /backup/var.tar
    accept_rc:
      remote: [0, 1]
    local_creates: /backup/var.tar

- name: Back up to a machine that has no Python, but the C program socketpipe
  dds.socketpipe.socketpipe:
    input: tar cf - /srv
    remote: dd of=/mnt/disk/srv.tar bs=1M
    helper: /usr/local/bin/socketpipe

- name: Arguments with spaces and other characters, as they are
  dds.socketpipe.socketpipe:
    input: [cat, "/srv/the $best file's name"]
    remote: [tee, "/tmp/a \"copy\""]
"""

RETURN = r"""
rc:
  description: >-
    Exit status of the command or file that failed the task, else of RV(output), else of RV(remote). V(1)
    if all commands ended well, but O(output_file) failed. V(none) if no command ran.
  type: int
  returned: always
msg:
  description: What failed, on which host, and with which words of the system. Empty when all went well.
  type: str
  returned: always
stdout:
  description:
    - What O(output) printed, unless that went to O(output_file), or without either what O(remote) printed.
    - Of this and of every stderr the last 64 KiB are kept; the first line says how much was cut.
      Bytes that are not UTF-8 are written as C(\xNN).
  type: str
  returned: when the commands ran
stdout_lines:
  description: RV(stdout), split into lines.
  type: list
  elements: str
  returned: when the commands ran
stderr:
  description: The standard error of all commands, in the order input, remote, output.
  type: str
  returned: when the commands ran
stderr_lines:
  description: RV(stderr), split into lines.
  type: list
  elements: str
  returned: when the commands ran
start:
  description: When the session began, by the controller's clock.
  type: str
  returned: when the commands ran
  sample: '2026-11-22 03:00:00.000000'
end:
  description: When the session ended, by the controller's clock.
  type: str
  returned: when the commands ran
  sample: '2026-11-22 03:10:00.000000'
delta:
  description: How long the session took.
  type: str
  returned: when the commands ran
  sample: '0:10:00.000000'
input: &local
  description: How the command ended, or the file in its place.
  type: dict
  returned: when the command ran
  contains:
    cmd:
      description: The command, as it was given.
      type: raw
      returned: for a command
    file:
      description: The path of the file, in the place of the command or beside it.
      type: str
      returned: for a file
    rc:
      description:
        - Exit status; 128 and the number of the signal, for a command that a signal ended.
        - Of a file, V(0), V(1) if it could not be read or written, V(141) if its reader ended before it.
      type: int
      returned: always
    signal:
      description: Name of the signal that ended the command, or V(none).
      type: str
      returned: always
    stderr:
      description: The end of its standard error. Of a file, the system's words if all was not well.
      type: str
      returned: always
output: *local
remote:
  description: How the command ended.
  type: dict
  returned: when the command ran
  contains:
    cmd:
      description: The command, as it was given.
      type: raw
      returned: always
    rc:
      description: Exit status; 128 and the number of the signal, for a command that a signal ended.
      type: int
      returned: always
    signal:
      description: Name of the signal that ended the command, or V(none).
      type: str
      returned: always
    stderr:
      description: The end of its standard error.
      type: str
      returned: always
backup_file:
  description: The path under which the old O(output_file) was kept.
  type: str
  returned: with O(backup), when there was one
  sample: /backup/var.tar.4711.2026-11-22@03:10:00~
bytes_sent:
  description:
    - Bytes that O(input), or without it O(input_file), gave and O(remote) could read. V(none) where the
      system does not tell.
  type: int
  returned: when the commands ran
bytes_received:
  description:
    - Bytes that O(remote) wrote and O(output), or without it O(output_file), took. V(none) where the
      system does not tell.
  type: int
  returned: when the commands ran
checksum_sent:
  description: >-
    The checksum, hexadecimal, of what O(input), or without it O(input_file), gave and O(remote) read.
    V(none) if not all of it was read.
  type: str
  returned: when O(checksum) was asked for and there was an input
checksum_received:
  description: >-
    The checksum, hexadecimal, of what O(remote) wrote and O(output), or without it O(output_file), took.
    V(none) if not all of it was read.
  type: str
  returned: when O(checksum) was asked for and there was an output
path:
  description: How the two machines were connected.
  type: dict
  returned: when they were
  contains:
    listener:
      description: The side that listened, V(local) or V(remote).
      type: str
      returned: always
    address:
      description: The address that was connected to.
      type: str
      returned: always
    port:
      description: The port that was connected to.
      type: int
      returned: always
    family:
      description: V(IPv4) or V(IPv6).
      type: str
      returned: always
    seconds:
      description: How long it took to connect, login not included.
      type: float
      returned: always
    round_trip:
      description: The shortest of five round trips, in seconds.
      type: float
      returned: in check mode
    summary:
      description: All that in a line.
      type: str
      returned: always
  sample:
    listener: local
    address: 192.0.2.1
    port: 41234
    family: IPv4
    seconds: 0.004
    summary: tapehost connected to controller at 192.0.2.1 port 41234 (IPv4) in 0.004 s
helper:
  description: That the session went through O(helper), and what that means.
  type: dict
  returned: with O(helper), when there was a session
  contains:
    path:
      description: The program on the target.
      type: str
      returned: always
    lost:
      description: What such a task can not promise, a sentence each.
      type: list
      elements: str
      returned: always
paths_tried:
  description: Each address and port that was tried.
  type: list
  elements: dict
  returned: when no path was found
  contains:
    side:
      description: The side that tried to connect, V(local) or V(remote).
      type: str
      returned: always
    purpose:
      description: V(control), or the direction whose connection for data it was to be.
      type: str
      returned: always
    source:
      description: The address it tried from. V(none) if the system had none for this purpose.
      type: str
      returned: always
    address:
      description: The address that was tried, or a name that could not be resolved.
      type: str
      returned: always
    port:
      description: The port that was tried.
      type: int
      returned: always
    tries:
      description: How often it was tried.
      type: int
      returned: always
    outcome:
      description: How the last try ended.
      type: str
      returned: always
    seconds:
      description: The time from the first try to the end of the last.
      type: float
      returned: always
"""

from ansible.module_utils.basic import AnsibleModule


def argument_spec():
    """The options of the task, for this module and for its action plugin."""
    accepted = dict(type="list", elements="int", default=[0])
    return dict(
        remote=dict(type="raw", required=True),
        input=dict(type="raw"),
        input_file=dict(type="path"),
        output=dict(type="raw"),
        output_file=dict(type="path"),
        mode=dict(type="raw"),
        owner=dict(type="str"),
        group=dict(type="str"),
        backup=dict(type="bool", default=False),
        shell=dict(type="bool", default=False),
        chdir=dict(type="path"),
        local_chdir=dict(type="path"),
        creates=dict(type="path"),
        removes=dict(type="path"),
        local_creates=dict(type="path"),
        local_removes=dict(type="path"),
        accept_rc=dict(
            type="dict",
            default={},
            options=dict(input=accepted, remote=accepted, output=accepted),
        ),
        listen=dict(type="str", choices=["auto", "local", "remote"], default="auto"),
        host=dict(type="str"),
        remote_host=dict(type="str"),
        ports=dict(type="str"),
        encrypt=dict(type="bool", default=False),
        checksum=dict(type="str"),
        block_size=dict(type="str"),
        rate_limit=dict(type="str"),
        helper=dict(type="str"),
        progress=dict(type="float", default=30),
        size=dict(type="str"),
        timeout=dict(type="float", default=30),
        stall_timeout=dict(type="float", default=0),
    )


#: At least one of them is needed.
LOCAL_COMMANDS = [("input", "input_file", "output", "output_file")]


def main():
    module = AnsibleModule(
        argument_spec(),
        required_one_of=LOCAL_COMMANDS,
        supports_check_mode=True,
    )
    module.fail_json(
        msg="socketpipe was run without its action plugin, which runs the local commands: call it "
        "dds.socketpipe.socketpipe, or add the collection's plugins/action to action_plugins in ansible.cfg"
    )


if __name__ == "__main__":
    main()
