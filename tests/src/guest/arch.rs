//! What differs between the machines that QEMU emulates for us.

/// A processor family, by the name that `scripts/build-release` has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    X86_64,
    Aarch64,
    Armv7,
}

impl Arch {
    /// Debian's name, which is the one of the cards' images too.
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
            Self::Armv7 => "armhf",
        }
    }

    /// Kubernetes' and the registries' name: the label `kubernetes.io/arch`.
    pub fn kubernetes(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
            Self::Armv7 => "arm",
        }
    }

    /// What `uname -m` says.
    pub fn machine(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Armv7 => "armv7l",
        }
    }

    /// The emulator and its board.
    pub fn qemu(self) -> &'static [&'static str] {
        match self {
            Self::X86_64 => &["qemu-system-x86_64", "-cpu", "max", "-nodefaults"],
            Self::Aarch64 => &["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a53", "-nodefaults"],
            // With high memory the 32-bit kernel does not reach the PCI bus, and so finds no disk.
            Self::Armv7 => &["qemu-system-arm", "-M", "virt,highmem=off", "-cpu", "cortex-a7", "-nodefaults"],
        }
    }
}
