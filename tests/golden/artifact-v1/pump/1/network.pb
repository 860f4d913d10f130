

	encoder_0

code

	decoder_0

output