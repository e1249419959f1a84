"""The virtual machine's parts, made from Debian's packages and kept in a cache: QEMU, a kernel, a file system, and the
memory of a machine that has booted. Nothing is installed on this machine that another package would have to leave for."""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import time

HERE = pathlib.Path(__file__).parent
GUEST = HERE / "guest"
# What makes a small Debian with systemd as its first process.
PACKAGES = ["systemd-sysv", "udev", "kmod", "iproute2", "python3-minimal"]
# What QEMU's machine, the emulated devices and their drivers need of the kernel's modules.
MODULES = [
    "arch/x86/crypto", "crypto", "lib", "net/core",
    "drivers/block/virtio_blk.ko", "drivers/char/virtio_console.ko", "drivers/net/net_failover.ko", "drivers/net/virtio_net.ko",
    "drivers/hid", "drivers/usb/class", "drivers/usb/common", "drivers/usb/core", "drivers/usb/gadget/function",
    "drivers/usb/gadget/libcomposite.ko", "drivers/usb/gadget/udc", "drivers/usb/host", "drivers/usb/serial", "drivers/virtio",
    "fs/autofs", "fs/binfmt_misc.ko", "fs/configfs", "fs/ext4", "fs/jbd2", "fs/mbcache.ko", "fs/overlayfs",
]
# What has to be there before the file system is.
EARLY = ["virtio_pci", "virtio_blk", "ext4", "overlay"]
# The image's file system has room for what is in it and nothing else: it is never written to.
DISK = "600M"
# The machine. TCG: hardware virtualisation is not to be had everywhere. Two processors: one that spins holds up nobody.
HARDWARE = [
    "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "512", "-M", "pc", "-nodefaults", "-display", "none", "-no-reboot",
    "-device", "qemu-xhci,id=xhci,p2=8,p3=8", "-device", "virtio-serial-pci,id=ports,max_ports=16",
    "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=",
]
COMMAND_LINE = "console=ttyS0 quiet loglevel=3 mitigations=off systemd.getty_auto=no systemd.show_status=no suspend.pm_test_delay=1"
# Room on the second disk for what is brought along, in bytes.
PARCEL_SIZE = 96 << 20
# Parts that nobody has used for so long are removed.
FORGET_AFTER = 7 * 24 * 3600


def run(*command, **options):
    """Runs a command; what it prints is shown only if it fails."""
    done = subprocess.run([str(word) for word in command], stdin=options.pop("stdin", subprocess.DEVNULL),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout.decode(errors='replace')}")
    return done.stdout.decode(errors="replace")


def codename():
    """The Debian release of this machine: the guest gets the same, so that programs built here run there."""
    return re.search(r"^VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text(), re.MULTILINE)[1]


def content_key():
    """Changes with everything that the parts are made of."""
    digest = hashlib.sha256(codename().encode())
    for path in [HERE / "image.py", *sorted(GUEST.glob("[!_]*"))]:
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


class Image:
    """The parts, in a folder of the cache."""

    def __init__(self, folder):
        self.folder = folder
        self.kernel = folder / "vmlinuz"
        self.initrd = folder / "initrd"
        self.disk = folder / "disk"
        self.memory = folder / "memory"

    def qemu(self):
        """The command that starts QEMU, and the environment that it needs."""
        unpacked = self.folder / "qemu"
        if not unpacked.exists():
            return ["qemu-system-x86_64"], dict(os.environ)
        libraries = unpacked / "usr/lib/x86_64-linux-gnu"
        command = [unpacked / "usr/bin/qemu-system-x86_64"]
        for data in ("usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"):
            command += ["-L", unpacked / data]
        paths = f"{libraries}:{unpacked / 'lib/x86_64-linux-gnu'}"
        return command, dict(os.environ, LD_LIBRARY_PATH=paths, QEMU_MODULE_DIR=str(libraries / "qemu"))


def ready_image(boot_and_save, say):
    """The image, made if the cache has none. `boot_and_save(image)` boots it and saves its memory."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "encoder-agent-hil"
    folder = cache / content_key()
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        making = cache / f"making-{os.getpid()}"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir()
        try:
            make(making, boot_and_save, say)
            if not folder.exists():
                making.rename(folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    os.utime(folder)
    for other in cache.iterdir():
        if time.time() - other.stat().st_mtime > FORGET_AFTER:
            shutil.rmtree(other, ignore_errors=True)
    return Image(folder)


def make(folder, boot_and_save, say):
    image = Image(folder)
    say("unpacking QEMU and the kernel")
    packages = folder / "packages"
    packages.mkdir()
    run("apt-get", "update", "-qq")
    unpack(packages, missing_packages("qemu-system-x86"), folder / "qemu")
    unpack(packages, ["busybox-static"], folder / "busybox")
    unpack(packages, [kernel_package()], folder / "kernel")
    say("making a Debian file system")
    root = folder / "root"
    excluded = [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "locale", "man")]
    run("mmdebstrap", "--quiet", "--mode=root", "--variant=essential", f"--include={','.join(PACKAGES)}", *excluded,
        codename(), root)
    shutil.copy(next((folder / "kernel/boot").glob("vmlinuz-*")), image.kernel)
    # Newer releases keep their modules below /usr alone.
    modules = next(place for part in ("lib/modules", "usr/lib/modules") if (place := folder / "kernel" / part).is_dir())
    release = install_modules(modules, root)
    install_guest(root)
    make_initrd(folder, root, release, image.initrd)
    run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", root, image.disk, DISK)
    for part in ("packages", "busybox", "kernel", "root"):
        shutil.rmtree(folder / part)
    say("booting it once")
    boot_and_save(image)


def missing_packages(package):
    """A package and what it depends on, as far as not installed, each with its version. Only asks: installing them could
    remove others."""
    plan = run("apt-get", "install", "--simulate", "--no-install-recommends", package)
    return [f"{name}={version}" for name, version in re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+)", plan, re.MULTILINE)]


def kernel_package():
    """The package of today's kernel."""
    return re.search(r"Depends: (linux-image-\S+)", run("apt-cache", "depends", "linux-image-amd64"))[1]


def unpack(packages, names, folder):
    """Downloads packages and unpacks them into a folder, without installing them."""
    if not names:
        return
    before = set(packages.iterdir())
    run("apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", *names, cwd=packages)
    for package in sorted(set(packages.iterdir()) - before):
        run("dpkg-deb", "--extract", package, folder)


def install_modules(modules, root):
    """Copies the modules that are needed into the file system and returns the kernel's release."""
    source = next(modules.iterdir())
    target = root / "lib/modules" / source.name
    for part in MODULES:
        # Newer releases keep their modules compressed.
        for found in source.glob(f"kernel/{part}*" if part.endswith(".ko") else f"kernel/{part}"):
            place = target / found.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(found, place) if found.is_dir() else shutil.copy(found, place)
    for index in source.glob("modules.*"):
        shutil.copy(index, target)
    run("chroot", root, "depmod", source.name)
    return source.name


def install_guest(root):
    """Lays what the cases need into the file system."""
    units = root / "etc/systemd/system"
    shutil.copy(GUEST / "hil-shell.service", units)
    (units / "multi-user.target.wants").mkdir(exist_ok=True)
    (units / "multi-user.target.wants/hil-shell.service").symlink_to("../hil-shell.service")
    (units / "multi-user.target.wants/systemd-networkd.service").symlink_to("/lib/systemd/system/systemd-networkd.service")
    shutil.copy(GUEST / "hil.network", root / "etc/systemd/network")
    (root / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    (root / "etc/hostname").write_text("desk\n")
    (root / "etc/fstab").write_text("")


def make_initrd(folder, root, release, initrd):
    """A first file system with only what it takes to mount the second one."""
    early = folder / "early"
    for part in ("bin", "dev", "lower", "modules", "proc", "root", "sys", "upper"):
        (early / part).mkdir(parents=True)
    shutil.copy(folder / "busybox/bin/busybox", early / "bin")
    shutil.copy(GUEST / "init", early / "init")
    (early / "init").chmod(0o755)
    needed = []
    for module in EARLY:
        listed = run("chroot", root, "modprobe", "--set-version", release, "--show-depends", module)
        needed += [path for path in re.findall(r"^insmod (\S+)", listed, re.MULTILINE) if path not in needed]
    for number, path in enumerate(needed):
        module = root / path.lstrip("/")
        packed = early / "modules" / f"{number:02}-{module.name}"
        shutil.copy(module, packed)
        if packed.suffix == ".xz":
            run("unxz", packed)
    run("sh", "-c", f"cd {early} && find . | bin/busybox cpio -o -H newc > {initrd}")
    shutil.rmtree(early)
