"""BMI1 and BMI2: bit instructions on general registers with a VEX prefix (SDM 1, 5.1.16; SDM 2A to 2C by name).

They need no AVX state (exception type 13): #UD outside protected mode, no #NM. TZCNT and LZCNT: rows_integer.
"""

ROWS = """
# ----- BMI1 -----
VEX.LZ.NP.0F38.WIG F2 | ANDN | Gy, By, Ey | w=oszc u=ap | wo,feature=bmi1
VEX.LZ.NP.0F38.WIG F7 | BEXTR | Gy, Ey, By | w=ozc u=sap | wo,feature=bmi1
VEX.LZ.NP.0F38.WIG F3 /1 | BLSR | By, Ey | w=oszc u=ap | wo,feature=bmi1
VEX.LZ.NP.0F38.WIG F3 /2 | BLSMSK | By, Ey | w=oszc u=ap | wo,feature=bmi1
VEX.LZ.NP.0F38.WIG F3 /3 | BLSI | By, Ey | w=oszc u=ap | wo,feature=bmi1
# ----- BMI2 -----
VEX.LZ.NP.0F38.WIG F5 | BZHI | Gy, Ey, By | w=oszc u=ap | wo,feature=bmi2
VEX.LZ.F2.0F38.WIG F6 | MULX | Gy, By, Ey | - | wo,feature=bmi2
VEX.LZ.F2.0F38.WIG F5 | PDEP | Gy, By, Ey | - | wo,feature=bmi2
VEX.LZ.F3.0F38.WIG F5 | PEXT | Gy, By, Ey | - | wo,feature=bmi2
VEX.LZ.F2.0F3A.WIG F0 | RORX | Gy, Ey, Ib | - | wo,feature=bmi2
VEX.LZ.F3.0F38.WIG F7 | SARX | Gy, Ey, By | - | wo,feature=bmi2
VEX.LZ.66.0F38.WIG F7 | SHLX | Gy, Ey, By | - | wo,feature=bmi2
VEX.LZ.F2.0F38.WIG F7 | SHRX | Gy, Ey, By | - | wo,feature=bmi2
"""
