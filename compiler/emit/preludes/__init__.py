"""The classes and functions that emitted source is made of; the emitter copies what is needed.

A definition uses torch, nn and other definitions of this folder alone. Its annotations stay here.
"""
