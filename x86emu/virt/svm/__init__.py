"""AMD-V (AMD APM volume 2, chapter 15): the control block, the exits and the checks of VMRUN as tables."""
