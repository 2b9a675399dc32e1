"""FMA3: a product and a sum with one rounding (SDM 1, 14.5; SDM 2C, VFMADD132PD and so on).

The digits say which operands are multiplied, then which is added: 132 is 1 * 3 + 2, 213 is 2 * 1 + 3, 231 is 2 * 3 + 1.
"""

ROWS = """
VEX.128/256.66.0F38.W0 96 | VFMADDSUB132PS | Vps, Hps, Wps | - | avx,feature=fma
VEX.128/256.66.0F38.W1 96 | VFMADDSUB132PD | Vpd, Hpd, Wpd | - | avx,feature=fma
VEX.128/256.66.0F38.W0 97 | VFMSUBADD132PS | Vps, Hps, Wps | - | avx,feature=fma
VEX.128/256.66.0F38.W1 97 | VFMSUBADD132PD | Vpd, Hpd, Wpd | - | avx,feature=fma
VEX.128/256.66.0F38.W0 98 | VFMADD132PS | Vps, Hps, Wps | - | avx,feature=fma
VEX.128/256.66.0F38.W1 98 | VFMADD132PD | Vpd, Hpd, Wpd | - | avx,feature=fma
VEX.LIG.66.0F38.W0 99 | VFMADD132SS | Vdq, Hdq, Wss | - | avx,feature=fma
VEX.LIG.66.0F38.W1 99 | VFMADD132SD | Vdq, Hdq, Wsd | - | avx,feature=fma
VEX.128/256.66.0F38.W0 9A | VFMSUB132PS | Vps, Hps, Wps | - | avx,feature=fma
VEX.128/256.66.0F38.W1 9A | VFMSUB132PD | Vpd, Hpd, Wpd | - | avx,feature=fma
VEX.LIG.66.0F38.W0 9B | VFMSUB132SS | Vdq, Hdq, Wss | - | avx,feature=fma
VEX.LIG.66.0F38.W1 9B | VFMSUB132SD | Vdq, Hdq, Wsd | - | avx,feature=fma
VEX.128/256.66.0F38.W0 9C | VFNMADD132PS | Vps, Hps, Wps | - | avx,feature=fma
VEX.128/256.66.0F38.W1 9C | VFNMADD132PD | Vpd, Hpd, Wpd | - | avx,feature=fma
VEX.LIG.66.0F38.W0 9D | VFNMADD132SS | Vdq, Hdq, Wss | - | avx,feature=fma
VEX.LIG.66.0F38.W1 9D | VFNMADD132SD | Vdq, Hdq, Wsd | - | avx,feature=fma
VEX.128/256.66.0F38.W0 9E | VFNMSUB132PS | Vps, Hps, Wps | - | avx,feature=fma
VEX.128/256.66.0F38.W1 9E | VFNMSUB132PD | Vpd, Hpd, Wpd | - | avx,feature=fma
VEX.LIG.66.0F38.W0 9F | VFNMSUB132SS | Vdq, Hdq, Wss | - | avx,feature=fma
VEX.LIG.66.0F38.W1 9F | VFNMSUB132SD | Vdq, Hdq, Wsd | - | avx,feature=fma
VEX.128/256.66.0F38.W0 A6 | VFMADDSUB213PS | Vps, Hps, Wps | - | avx,feature=fma
VEX.128/256.66.0F38.W1 A6 | VFMADDSUB213PD | Vpd, Hpd, Wpd | - | avx,feature=fma
VEX.128/256.66.0F38.W0 A7 | VFMSUBADD213PS | Vps, Hps, Wps | - | avx,feature=fma
VEX.128/256.66.0F38.W1 A7 | VFMSUBADD213PD | Vpd, Hpd, Wpd | - | avx,feature=fma
VEX.128/256.66.0F38.W0 A8 | VFMADD213PS | Vps, Hps, Wps | - | avx,feature=fma
VEX.128/256.66.0F38.W1 A8 | VFMADD213PD | Vpd, Hpd, Wpd | - | avx,feature=fma
VEX.LIG.66.0F38.W0 A9 | VFMADD213SS | Vdq, Hdq, Wss | - | avx,feature=fma
VEX.LIG.66.0F38.W1 A9 | VFMADD213SD | Vdq, Hdq, Wsd | - | avx,feature=fma
VEX.128/256.66.0F38.W0 AA | VFMSUB213PS | Vps, Hps, Wps | - | avx,feature=fma
VEX.128/256.66.0F38.W1 AA | VFMSUB213PD | Vpd, Hpd, Wpd | - | avx,feature=fma
VEX.LIG.66.0F38.W0 AB | VFMSUB213SS | Vdq, Hdq, Wss | - | avx,feature=fma
VEX.LIG.66.0F38.W1 AB | VFMSUB213SD | Vdq, Hdq, Wsd | - | avx,feature=fma
VEX.128/256.66.0F38.W0 AC | VFNMADD213PS | Vps, Hps, Wps | - | avx,feature=fma
VEX.128/256.66.0F38.W1 AC | VFNMADD213PD | Vpd, Hpd, Wpd | - | avx,feature=fma
VEX.LIG.66.0F38.W0 AD | VFNMADD213SS | Vdq, Hdq, Wss | - | avx,feature=fma
VEX.LIG.66.0F38.W1 AD | VFNMADD213SD | Vdq, Hdq, Wsd | - | avx,feature=fma
VEX.128/256.66.0F38.W0 AE | VFNMSUB213PS | Vps, Hps, Wps | - | avx,feature=fma
VEX.128/256.66.0F38.W1 AE | VFNMSUB213PD | Vpd, Hpd, Wpd | - | avx,feature=fma
VEX.LIG.66.0F38.W0 AF | VFNMSUB213SS | Vdq, Hdq, Wss | - | avx,feature=fma
VEX.LIG.66.0F38.W1 AF | VFNMSUB213SD | Vdq, Hdq, Wsd | - | avx,feature=fma
VEX.128/256.66.0F38.W0 B6 | VFMADDSUB231PS | Vps, Hps, Wps | - | avx,feature=fma
VEX.128/256.66.0F38.W1 B6 | VFMADDSUB231PD | Vpd, Hpd, Wpd | - | avx,feature=fma
VEX.128/256.66.0F38.W0 B7 | VFMSUBADD231PS | Vps, Hps, Wps | - | avx,feature=fma
VEX.128/256.66.0F38.W1 B7 | VFMSUBADD231PD | Vpd, Hpd, Wpd | - | avx,feature=fma
VEX.128/256.66.0F38.W0 B8 | VFMADD231PS | Vps, Hps, Wps | - | avx,feature=fma
VEX.128/256.66.0F38.W1 B8 | VFMADD231PD | Vpd, Hpd, Wpd | - | avx,feature=fma
VEX.LIG.66.0F38.W0 B9 | VFMADD231SS | Vdq, Hdq, Wss | - | avx,feature=fma
VEX.LIG.66.0F38.W1 B9 | VFMADD231SD | Vdq, Hdq, Wsd | - | avx,feature=fma
VEX.128/256.66.0F38.W0 BA | VFMSUB231PS | Vps, Hps, Wps | - | avx,feature=fma
VEX.128/256.66.0F38.W1 BA | VFMSUB231PD | Vpd, Hpd, Wpd | - | avx,feature=fma
VEX.LIG.66.0F38.W0 BB | VFMSUB231SS | Vdq, Hdq, Wss | - | avx,feature=fma
VEX.LIG.66.0F38.W1 BB | VFMSUB231SD | Vdq, Hdq, Wsd | - | avx,feature=fma
VEX.128/256.66.0F38.W0 BC | VFNMADD231PS | Vps, Hps, Wps | - | avx,feature=fma
VEX.128/256.66.0F38.W1 BC | VFNMADD231PD | Vpd, Hpd, Wpd | - | avx,feature=fma
VEX.LIG.66.0F38.W0 BD | VFNMADD231SS | Vdq, Hdq, Wss | - | avx,feature=fma
VEX.LIG.66.0F38.W1 BD | VFNMADD231SD | Vdq, Hdq, Wsd | - | avx,feature=fma
VEX.128/256.66.0F38.W0 BE | VFNMSUB231PS | Vps, Hps, Wps | - | avx,feature=fma
VEX.128/256.66.0F38.W1 BE | VFNMSUB231PD | Vpd, Hpd, Wpd | - | avx,feature=fma
VEX.LIG.66.0F38.W0 BF | VFNMSUB231SS | Vdq, Hdq, Wss | - | avx,feature=fma
VEX.LIG.66.0F38.W1 BF | VFNMSUB231SD | Vdq, Hdq, Wsd | - | avx,feature=fma
"""
