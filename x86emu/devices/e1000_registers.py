"""Registers of the Intel 82540EM by offset (PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's
Manual, chapter 13), their bits, and the layout of descriptors (chapter 3)."""

from __future__ import annotations

# General (13.4.1 to 13.4.6)
CTRL, STATUS, EECD, EERD, CTRL_EXT, FLASH, MDIC = 0x0000, 0x0008, 0x0010, 0x0014, 0x0018, 0x001C, 0x0020
FCAL, FCAH, FCT, VET = 0x0028, 0x002C, 0x0030, 0x0038
CTRL_FD, CTRL_SLU, CTRL_RST, CTRL_VME, CTRL_PHY_RST = 1 << 0, 1 << 6, 1 << 26, 1 << 30, 1 << 31
STATUS_FD, STATUS_LU, STATUS_1000 = 1 << 0, 1 << 1, 2 << 6
EERD_START, EERD_DONE = 1 << 0, 1 << 4
EECD_SK, EECD_CS, EECD_DI, EECD_DO, EECD_REQ, EECD_GNT, EECD_PRES = 1, 2, 4, 8, 0x40, 0x80, 0x100
MDIC_WRITE, MDIC_READ, MDIC_READY, MDIC_INTERRUPT, MDIC_ERROR = 1 << 26, 2 << 26, 1 << 28, 1 << 29, 1 << 30

# Interrupts (13.4.17 to 13.4.21)
ICR, ITR, ICS, IMS, IMC = 0x00C0, 0x00C4, 0x00C8, 0x00D0, 0x00D8
TXDW, TXQE, LSC, RXDMT0, RXO, RXT0, MDAC = 1 << 0, 1 << 1, 1 << 2, 1 << 4, 1 << 6, 1 << 7, 1 << 9
CAUSES = 0x0001_FFDF
ITR_UNIT = 256  # nanoseconds
DELAY_UNIT = 1024  # nanoseconds, of RDTR, RADV, TIDV and TADV

# Receive (13.4.22 to 13.4.32)
RCTL, FCTTV, FCRTL, FCRTH = 0x0100, 0x0170, 0x2160, 0x2168
RDBAL, RDBAH, RDLEN, RDH, RDT, RDTR, RXDCTL, RADV, RSRPD = (
    0x2800, 0x2804, 0x2808, 0x2810, 0x2818, 0x2820, 0x2828, 0x282C, 0x2C00,
)  # fmt: skip
RCTL_EN, RCTL_UPE, RCTL_MPE, RCTL_LPE, RCTL_BAM = 1 << 1, 1 << 3, 1 << 4, 1 << 5, 1 << 15
RCTL_VFE, RCTL_CFIEN, RCTL_CFI, RCTL_BSEX, RCTL_SECRC = 1 << 18, 1 << 19, 1 << 20, 1 << 25, 1 << 26
FLUSH_PARTIAL = 1 << 31  # of RDTR and TIDV
RXCSUM, MTA, RAL, VFTA = 0x5000, 0x5200, 0x5400, 0x5600
RXCSUM_IP, RXCSUM_TCP = 1 << 8, 1 << 9
RAH_VALID = 1 << 31
ADDRESSES = 16

# Transmit (13.4.33 to 13.4.45)
TCTL, TIPG, AIT, LEDCTL, PBA = 0x0400, 0x0410, 0x0458, 0x0E00, 0x1000
TDBAL, TDBAH, TDLEN, TDH, TDT, TIDV, TXDCTL, TADV, TSPMT = (
    0x3800, 0x3804, 0x3808, 0x3810, 0x3818, 0x3820, 0x3828, 0x382C, 0x3830,
)  # fmt: skip
TCTL_EN = 1 << 1

# Statistics (13.7): all clear when they are read, a pair when its upper half is.
STATISTICS, STATISTICS_END = 0x4000, 0x4100
MPC, GPRC, BPRC, MPRC, GPTC, GORCL, GOTCL, RUC, ROC = (
    0x4010, 0x4074, 0x4078, 0x407C, 0x4080, 0x4088, 0x4090, 0x40A4, 0x40AC,
)  # fmt: skip
TORL, TOTL, TPR, TPT, MPTC, BPTC, TSCTC, PRC64, PTC64 = (
    0x40C0, 0x40C8, 0x40D0, 0x40D4, 0x40F0, 0x40F4, 0x40F8, 0x405C, 0x40D8,
)  # fmt: skip
PAIRS = (GORCL, GOTCL, TORL, TOTL)
SIZE_BINS = (64, 127, 255, 511, 1023)  # with the frame check sequence; the last counter is for what is larger

WAKE_UP = {offset: 0xFFFF_FFFF for offset in (0x5800, 0x5808, 0x5820, 0x5838)}  # WUC, WUFC, MANC, IPAV

# Registers that only hold what was written: the bits that can be.
PLAIN = {
    CTRL_EXT: 0xFFFF_FFFF, FLASH: 0xFFFF_FFFF, FCAL: 0xFFFF_FFFF, FCAH: 0xFFFF, FCT: 0xFFFF, VET: 0xFFFF,
    ITR: 0xFFFF, FCTTV: 0xFFFF, FCRTL: 0x8000_FFF8, FCRTH: 0xFFF8, RDBAL: 0xFFFF_FFF0, RDBAH: 0xFFFF_FFFF,
    RDLEN: 0xF_FF80, RDH: 0xFFFF, RDTR: 0xFFFF, RXDCTL: 0xFFFF_FFFF, RADV: 0xFFFF, RSRPD: 0xFFF, RXCSUM: 0x7FF,
    TCTL: 0x03FF_FFFA, TIPG: 0x3FFF_FFFF, AIT: 0xFFFF, LEDCTL: 0xFFFF_FFFF, PBA: 0xFFFF, TDBAL: 0xFFFF_FFF0,
    TDBAH: 0xFFFF_FFFF, TDLEN: 0xF_FF80, TDH: 0xFFFF, TIDV: 0xFFFF, TXDCTL: 0xFFFF_FFFF, TADV: 0xFFFF,
    TSPMT: 0xFFFF_FFFF, **WAKE_UP,
}  # fmt: skip
# What is not 0 after a reset.
INITIAL = {
    VET: 0x8100, PBA: 0x0010_0030, LEDCTL: 0x0706_8302, RXDCTL: 0x0101_0000, TXDCTL: 0, TIPG: 0x0060_200A,
    AIT: 0, TSPMT: 0x0100_0400, RXCSUM: 0,
}  # fmt: skip

# Receive descriptor (3.2.3): status, errors
RXD_DD, RXD_EOP, RXD_IXSM, RXD_VP, RXD_TCPCS, RXD_IPCS, RXD_PIF = 0x01, 0x02, 0x04, 0x08, 0x20, 0x40, 0x80
RXE_TCPE, RXE_IPE = 0x20, 0x40
# Transmit descriptor (3.3): command bits of all kinds, those of a context, and options of a data descriptor
TXC_EOP, TXC_IC, TXC_TSE, TXC_RS, TXC_DEXT, TXC_VLE, TXC_IDE = 0x01, 0x04, 0x04, 0x08, 0x20, 0x40, 0x80
CONTEXT_TCP, CONTEXT_IP, CONTEXT_TSE = 0x01, 0x02, 0x04
OPTION_IXSM, OPTION_TXSM = 0x01, 0x02
TXD_DD = 0x01
DESCRIPTOR = 16
